"""The kernels compiled for GPUs that are not there: registers, spills and instructions.

``python -m benchmarks.gpu_assembly`` writes docs/assembly.md; it needs Triton and no GPU, and takes minutes.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from el_plugins.losses.bonuses import Bonus
from el_plugins.losses.dispatch import kernel_options
from el_plugins.losses.kernels import focal_triton
from el_plugins.losses.kernels.focal import FocalSettings
from el_plugins.losses.kernels.launch_triton import Launch
from el_plugins.losses.kernels.softmax_launch_triton import launch_of
from el_plugins.losses.options import RowOptions

PAGE = Path(__file__).parents[1] / "docs" / "assembly.md"
DEFAULT = Bonus()
ARCHITECTURES = (80, 90, 100)
CLASSES = (19, 1000, 6632, 10000, 16240, 32000, 131072)
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
TYPES = {
    torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16", torch.int64: "i64",
    torch.uint8: "u8",
}  # fmt: skip
BINARIES = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
# Of a multiprocessor, the same in all three architectures: 32-bit registers, threads, and blocks of them.
REGISTERS, THREADS, BLOCKS = 65536, 2048, 32
FOCAL_TARGETS = ("class indices", "0 and 1", "soft")


class Assembly(NamedTuple):
    """What a kernel takes of a multiprocessor."""

    warps: int
    registers: int  # of a thread
    spilled: int  # bytes of a thread
    shared: int  # bytes of a program
    instructions: float  # of a thread, for each logit of its rows
    occupancy: float  # share of the threads that a multiprocessor can hold


def launch(
    classes: int,
    dtype: torch.dtype,
    smoothed: bool,
    images: bool = False,
    bonus: Bonus = DEFAULT,
    weighted: bool = False,
) -> Launch:
    """The launch that writes the gradient: in forward, and of fp16 in backward."""
    shape = (8, classes, 4096) if images else (1, 4096, classes)
    z = torch.empty(shape, dtype=dtype, device="meta")
    z = z.transpose(1, 2) if images else z
    rows = torch.empty(z.size(0) * z.size(1), device="meta")
    weight = torch.empty(classes, device="meta") if weighted else None
    row_options = RowOptions(bonus, weight, label_smoothing=0.1 if smoothed else 0.0)
    options = kernel_options(row_options, classes, dtype)
    upstream = rows if dtype == torch.float16 else None
    target = rows.long()
    return launch_of(z, target, -100, options, rows[:1], upstream, z, rows, rows)


def focal_launch(target: str, dtype: torch.dtype) -> Launch:
    """The launch of halted focal loss at RetinaNet's 80 classes that writes the gradient, as :func:`launch`.

    ``target`` is ``class indices``, ``0 and 1`` or ``soft``.
    """
    x = torch.empty(4096, 80, dtype=dtype, device="meta")
    targets = {"class indices": x[:, 0].long(), "0 and 1": x.bool(), "soft": x}
    settings, sums = FocalSettings(0.5, 1.0, "foreground", 0.5), x[:, 0].float()
    if dtype == torch.float16:
        return focal_triton.launch_of(x, targets[target], settings, "factor", sums[:1], gradient=x)
    return focal_triton.launch_of(x, targets[target], settings, losses=sums, gradient=x)


def compile_for(launch: Launch, architecture: int) -> Any:
    """``launch`` as Triton compiles it for sm_``architecture``."""
    signature, constants, attributes = {}, {}, {}
    values = dict(zip(launch.kernel.arg_names, launch.arguments))
    values.update({name: value for name, value in launch.constants.items() if name != "num_warps"})
    for place, parameter in enumerate(launch.kernel.params):
        value = values[parameter.name]
        is_free = parameter.do_not_specialize
        if isinstance(value, torch.Tensor):
            signature[parameter.name] = f"*{TYPES[value.dtype]}"
        elif parameter.is_constexpr or value is None or (type(value) is int and value == 1 and not is_free):
            signature[parameter.name], constants[(place,)] = "constexpr", value
            continue
        else:
            signature[parameter.name] = "fp32" if isinstance(value, float) else "i32"
        if isinstance(value, torch.Tensor) or (type(value) is int and value % 16 == 0 and not is_free):
            attributes[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(launch.kernel, signature, constants, attributes)
    target = GPUTarget("cuda", architecture, 32)
    return triton.compile(source, target=target, options={"num_warps": launch.constants["num_warps"]})


def assembly(launch: Launch, classes: int, architecture: int) -> Assembly:
    """What the compiled ``launch`` takes; of the focal loss ``classes`` are those of a program, BLOCK."""
    compiled = compile_for(launch, architecture)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        usage = output_of("cuobjdump", "-res-usage", file.name)
        listing = output_of("nvdisasm", "-c", file.name)
    registers, stack = (int(re.findall(rf"{name}:(\d+)", usage)[0]) for name in ("REG", "STACK"))
    warps, shared = launch.constants["num_warps"], compiled.metadata.shared
    allocated = -(-registers // 8) * 8 * 32 * warps
    blocks = min(REGISTERS // allocated, THREADS // (32 * warps), BLOCKS)
    rows = launch.constants.get("ROWS", 1)
    turns = -(-classes // launch.constants["BLOCK"])
    instructions = executed(listing, turns) * 32 * warps / (rows * classes)
    return Assembly(warps, registers, stack, shared, instructions, blocks * 32 * warps / THREADS)


def output_of(program: str, *arguments: str) -> str:
    """The output of one of the programs that come with Triton."""
    command = [str(BINARIES / program), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def executed(listing: str, turns: int) -> int:
    """Instructions of a thread, those in loops ``turns`` times; both sides of a branch are counted."""
    places: list[bool] = []
    labels: dict[str, int] = {}
    jumps: list[tuple[str, int]] = []
    for line in listing.splitlines():
        if name := re.match(r"(\.L_x_\d+):", line):
            labels[name[1]] = len(places)
        elif re.match(r"\s+/\*[0-9a-f]{4,}\*/\s", line):
            if jump := re.search(r"BRA.*`\((\.L_x_\d+)\)", line):
                jumps.append((jump[1], len(places)))
            places.append("NOP" not in line)
    in_loops = [False] * len(places)
    for label, place in jumps:
        if label in labels and labels[label] < place:  # backward, but for the trap after the last instruction
            for inside in range(labels[label], place + 1):
                in_loops[inside] = True
    return sum(turns if looped else 1 for counts, looped in zip(places, in_loops) if counts)


def page(architectures: tuple[int, ...]) -> str:
    """The page of documentation."""
    lines = [HEAD.format(version=triton.__version__)]
    for architecture in architectures:
        lines += [f"\n## sm_{architecture}\n", COLUMNS]
        for classes in CLASSES:
            for smoothed in (False, True):
                for dtype in DTYPES:
                    images = classes < 100
                    found = assembly(launch(classes, dtype, smoothed, images), classes, architecture)
                    target = "smoothed" if smoothed else "hard"
                    name = "19, images" if images else f"{classes:,}"
                    lines.append(line(name, dtype, target, found))
        for target in FOCAL_TARGETS:
            for dtype in DTYPES:
                found = assembly(focal_launch(target, dtype), focal_triton.BLOCK, architecture)
                lines.append(line("80, focal", dtype, target, found))
    return "\n".join(lines) + "\n"


def line(name: str, dtype: torch.dtype, target: str, found: Assembly) -> str:
    """A row of the table."""
    cells = name, TYPES[dtype], target, *found[:4], f"{found.instructions:.0f}", f"{found.occupancy:.0%}"
    return f"| {' | '.join(map(str, cells))} |"


HEAD = """# Assembly

What the kernels take of a GPU's multiprocessor, from the code that Triton {version} makes of them for the log
bonus, and for halted focal loss with gamma 1. Nothing here is measured, and no GPU is needed:
`python -m benchmarks.gpu_assembly` writes it.

- Spilled: bytes of a thread that did not fit into registers. Shared: bytes of a program.
- Instructions: of a thread, for each logit of its rows. Both sides of a branch count, though the second pass
  over a row whose top class stands far out is rare.
- Occupancy: the share of a multiprocessor's 2,048 threads that run at once.

At 3 TB/s an H100 moves a 16-bit logit and its gradient in the time of some 39 instructions, an fp32 one in
that of 78: what takes more is bound by instructions, not by bytes."""
NAMES = "classes dtype target warps registers spilled shared instructions occupancy".split()
COLUMNS = f"| {' | '.join(NAMES)} |\n{'|---' * len(NAMES)}|"


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architectures", type=int, nargs="+", default=ARCHITECTURES)
    arguments = parser.parse_args()
    PAGE.write_text(page(tuple(arguments.architectures)), encoding="utf-8")


if __name__ == "__main__":
    main()
