"""The kernels compile for GPUs that are not there, and fit into their registers."""

import pytest

pytest.importorskip("triton", minversion="3.6", reason="older ones compile differently, or not without a GPU")

import torch

from benchmarks import gpu_assembly
from benchmarks.gpu_assembly import assembly, compile_for, executed, focal_launch, launch
from el_plugins.losses.bonuses import Bonus
from el_plugins.losses.kernels import focal_triton, soft_target_triton, softmax_launch_triton
from el_plugins.losses.kernels.soft_target_function import SoftOptions
from tests.marks import long

if not hasattr(softmax_launch_triton.short_rows, "params"):
    pytest.skip("Triton interprets", allow_module_level=True)


@pytest.mark.parametrize(
    ("classes", "dtype", "smoothed", "most"),
    [
        (6632, torch.bfloat16, False, 48),
        (6632, torch.float16, True, 80),
        (16240, torch.float32, True, 70),
        (131072, torch.bfloat16, False, 40),
        (19, torch.float32, False, 100),
    ],
)
def test_no_spills_and_few_instructions(classes, dtype, smoothed, most):
    found = assembly(launch(classes, dtype, smoothed, images=classes < 100), classes, 90)
    assert found.spilled == 0
    assert 10 < found.instructions < most
    assert found.occupancy >= 0.125


@pytest.mark.long
@pytest.mark.parametrize("architecture", gpu_assembly.ARCHITECTURES)
def test_no_spills_anywhere(architecture):
    # Bytes, on newer ones: of the smoothed form with 64 logits a thread.
    most = 32 if architecture == 100 else 0
    for classes in gpu_assembly.CLASSES:
        for smoothed in (False, True):
            for dtype in gpu_assembly.DTYPES:
                found = assembly(launch(classes, dtype, smoothed, classes < 100), classes, architecture)
                assert found.spilled <= most, (classes, smoothed, dtype, found)


@pytest.mark.parametrize("target", gpu_assembly.FOCAL_TARGETS)
def test_focal_loss_does_not_spill(target):
    for dtype in gpu_assembly.DTYPES:
        found = assembly(focal_launch(target, dtype), focal_triton.BLOCK, 90)
        assert found.spilled == 0
        assert 10 < found.instructions < 90
        assert found.occupancy >= 0.5


# In the interpreter types may change, and anything goes that a compiler refuses.
@pytest.mark.parametrize("classes", [1000, *long(19, 40000)])
@pytest.mark.parametrize(
    "bonus", [Bonus("none"), Bonus("power"), Bonus("aggressive"), Bonus("cosine"), Bonus("log", 0.2)], ids=str
)
def test_every_bonus_compiles(bonus, classes):
    for smoothed, weighted in ((True, True), (True, False), (False, True)):
        images = classes < 100
        found = compile_for(launch(classes, torch.bfloat16, smoothed, images, bonus, weighted), 90)
        assert "cubin" in found.asm


@pytest.mark.parametrize("bonus", [Bonus(), Bonus("power")], ids=str)
def test_class_probabilities_compile(bonus):
    z, rows = torch.empty(8, 1000, device="meta"), torch.empty(8, device="meta")
    options = SoftOptions(0.9, 1e-4, z[0], bonus)
    for outputs in ((z, z), (z, None), (None, z), (None, None)):
        upstream = rows if any(x is not None for x in outputs) else None
        launch = soft_target_triton.launch_of(z, z, options, upstream, outputs, rows)
        assert "cubin" in compile_for(launch, 90).asm


def test_instructions_in_loops_count_as_often_as_they_run():
    listing = """
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_0:
        /*0010*/                   LDG.E R2, [R2.64] ;
        /*0020*/              @!P0 BRA `(.L_x_0) ;
        /*0030*/                   NOP ;
        /*0040*/               @P1 BRA `(.L_x_1) ;
        /*0050*/                   EXIT ;
.L_x_1:
        /*0060*/                   EXIT ;
"""
    assert executed(listing, 10) == 4 + 2 * 10
