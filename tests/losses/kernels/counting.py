"""What a step costs, counted in Triton's interpreter: operations, launches, bytes loaded and stored."""

import contextlib

import numpy as np
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from triton.runtime import interpreter

# Allocations and aliases that torch does not mark as views start nothing on a GPU.
FREE = {"empty", "empty_like", "empty_strided", "new_empty", "detach", "_unsafe_view", "_reshape_alias"}


class Step(TorchDispatchMode):
    """The torch operations, the launches and the bytes of what runs inside.

    Bytes are of every distinct address that a program loads or stores at once, so that reading logits twice
    counts twice.
    """

    def __init__(self):
        super().__init__()
        self.operations, self.launches, self.bytes = [], [], 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if not function.is_view and function._overloadpacket.__name__ not in FREE:
            self.operations.append(str(function))
        return function(*args, **(kwargs or {}))

    @property
    def count(self):
        """How much is started on a GPU."""
        return len(self.operations) + len(self.launches)


@contextlib.contextmanager
def counted(monkeypatch):
    """A :class:`Step` that counts what runs inside; values are not checked, as on a GPU."""
    step, builder = Step(), interpreter.InterpreterBuilder
    run, load, store = (
        interpreter.InterpretedFunction.run, builder.create_masked_load, builder.create_masked_store,
    )  # fmt: skip

    def launch(self, *arguments, **options):
        step.launches.append(self.__name__)
        with _disable_current_modes():
            return run(self, *arguments, **options)

    def counting(access):
        def call(self, pointers, value_or_mask, mask_or_other, *rest):
            mask = value_or_mask if access is load else mask_or_other
            size = pointers.get_element_ty().primitive_bitwidth // 8
            step.bytes += size * len(
                np.unique(pointers.data[np.broadcast_to(mask.data, pointers.data.shape)])
            )
            return access(self, pointers, value_or_mask, mask_or_other, *rest)

        return call

    with monkeypatch.context() as patch:
        patch.setattr("el_plugins.losses.validation.is_compiling", lambda: True)
        patch.setattr(interpreter.InterpretedFunction, "run", launch)
        patch.setattr(builder, "create_masked_load", counting(load))
        patch.setattr(builder, "create_masked_store", counting(store))
        with step:
            yield step
