"""Train, translate, score and compare systems over seeds: ``el-nmt-benchmark``."""

from __future__ import annotations

from collections.abc import Sequence

from el_plugins.nmt.benchmark.arguments import parse_arguments
from el_plugins.utils.program import program


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``el-nmt-benchmark``."""
    options = parse_arguments(arguments)
    with program("el-nmt-benchmark", "stopped; start it again to resume", extra="fairseq,nmt"):
        # Takes seconds, which help and a wrong argument need not wait for.
        from el_plugins.nmt.benchmark.driver import run_benchmark

        run_benchmark(options)


if __name__ == "__main__":
    main()
