"""What fails on a fast path is computed by plain operations, with a warning; out of memory is raised."""

import warnings

import pytest
import torch

from el_plugins.losses.kernels import compile_cache, fallback


class Broken:
    """A fast implementation that raises the given error, if any, and counts its calls."""

    def __init__(self, error):
        self.error, self.calls = error, 0

    def __call__(self, x):
        self.calls += 1
        if self.error is not None:
            raise self.error
        return x + 1


def plain(x):
    return x + 1


def test_a_failure_affects_one_call_and_warns_once():
    fast = Broken(ValueError("unsupported tensor"))
    call = fallback.with_fallback(fast, plain)
    with pytest.warns(
        RuntimeWarning, match="plain is computed by plain torch operations.*ValueError: unsupp"
    ):
        assert call(torch.ones(1)).item() == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert call(torch.ones(1)).item() == 2
        fast.error = None
        assert call(torch.ones(1)).item() == 2
    assert fast.calls == 3
    fast.error = ValueError("another reason")
    with pytest.warns(RuntimeWarning, match="another reason"):
        call(torch.ones(1))


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("Triton Error [CUDA]: out of memory"),
    ],
    ids=repr,
)
def test_out_of_memory_is_raised(error):
    fast = Broken(error)
    call = fallback.with_fallback(fast, plain)
    for _ in range(2):
        with pytest.raises(type(error)):
            call(torch.ones(1))
    assert fast.calls == 2


def test_out_of_memory_of_the_cpu_is_recognized():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert fallback.is_out_of_memory(caught.value)
    assert not fallback.is_out_of_memory(ValueError("out of memory"))


@pytest.fixture(scope="module")
def no_compiler():
    """What torch.compile raises where there is no C++ compiler."""
    torch.compiler.reset()
    settings = torch._inductor.config.patch({"cpp.cxx": ("/nowhere/g++",), "fx_graph_cache": False})
    with settings, pytest.raises(Exception, match="compiler") as caught:
        torch.compile(lambda x: (x + 1).cos().sum())(torch.ones(1000))
    return caught.value


def test_what_cannot_be_compiled_is_tried_once_for_each_kind_of_tensor(no_compiler):
    fast = Broken(no_compiler)
    call = fallback.with_fallback(fast, plain)
    with pytest.warns(RuntimeWarning, match="plain is computed by plain torch operations"):
        call(torch.ones(1))
    for size in (1, 5):
        assert torch.equal(call(torch.ones(size)), torch.full((size,), 2.0))
    assert fast.calls == 1
    call(torch.ones(1, dtype=torch.float64))
    assert fast.calls == 2


def test_compiled_code_falls_back(monkeypatch, no_compiler):
    monkeypatch.setattr(torch, "compile", lambda function, dynamic: Broken(no_compiler))
    call = compile_cache.compiled(lambda x: x + 1)
    with pytest.warns(RuntimeWarning, match="by plain torch operations"):
        assert call(torch.ones(1)).item() == 2
