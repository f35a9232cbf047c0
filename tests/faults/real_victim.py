"""`incumbent` with traps at every durable operation of it and of its trials; otherwise the real program."""

from __future__ import annotations

import sys
from functools import partial

from supervisor.cli import run_cli
from tests.faults.real_trap import set_trap


def main(arguments: list[str]) -> int:
    if arguments[0] == "run":
        from supervisor.commands import run
        from supervisor.execution.local import PRELOAD, LocalExecutor

        run.LocalExecutor = partial(LocalExecutor, preload=(*PRELOAD, "tests.faults.real_preload"))
    kind = {"run": "supervisor", "serve": "server"}[arguments[0]]
    set_trap(lambda: kind)
    return run_cli(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
