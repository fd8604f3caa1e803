"""A process of a training that torchrun started: ``python -m el_plugins.nmt.benchmark.worker ARGUMENTS``.

fairseq reads torchrun's variables only if it sees several GPUs, so they are passed as arguments.
"""

from __future__ import annotations

import os
import sys

from torch.distributed.elastic.multiprocessing.errors import record


@record  # torchrun's last lines then have the traceback
def main() -> None:
    """Run fairseq-train with the arguments given, as the process that the environment says."""
    from fairseq_cli.train import cli_main

    variables = {"world-size": "WORLD_SIZE", "rank": "RANK"}
    for name, variable in variables.items():
        sys.argv += [f"--distributed-{name}", os.environ[variable]]
    sys.argv += ["--device-id", os.environ["LOCAL_RANK"], "--distributed-no-spawn"]
    sys.argv += ["--distributed-init-method", "env://"]
    cli_main()


if __name__ == "__main__":
    main()
