"""Entry of `incumbent` and `python -m supervisor`. Imports nothing heavy: a forkserver child imports it again."""

from __future__ import annotations

import faulthandler
import os
import sys


def main() -> None:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported, here or by a child
    if sys.stderr is not None:
        faulthandler.enable()  # a crash, or systemd's SIGABRT to a loop that hangs, says where
    from supervisor.cli import run_cli

    sys.exit(run_cli(sys.argv[1:]))


if __name__ == "__main__":
    main()
