"""A supervisor for tests that kill it: runs a trial per argument `folder`, says its fork server's pid, and waits."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from supervisor.contract import Budget
from supervisor.execution.executor import Launch
from supervisor.execution.local import LocalExecutor


def main(preload: list[str], folders: list[str]) -> None:
    executor = LocalExecutor(len(folders) or 1, worker="tests.support.fake_worker", preload=preload)
    for number, folder in enumerate(folders):
        executor.submit(Launch(Path(folder), number, Budget(steps=1, wall_s=600.0, ram_mb=512), "build"))
    print(executor.server_pid(), flush=True)
    while True:
        executor.wait(60.0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2:])
