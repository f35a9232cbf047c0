"""A no-op target whose trial of one iteration kills the supervisor, once: `kill -9` in the middle of a trial.

The run folder's file `kill_in` says which iteration; every build is noted in `evaluations.jsonl`.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from supervisor.contract import Params, TrialSpec
from supervisor.execution.child import ENVIRONMENT_NAME
from tests.support.noop import NoopTarget
from trainers.target import Built, Control

KILL_IN, EVALUATIONS = "kill_in", "evaluations.jsonl"


class KillingTarget(NoopTarget):
    def __init__(self, spec: TrialSpec, folder: Path, control: Control) -> None:
        super().__init__(spec, folder, control)
        self._run_dir = folder.parent.parent

    def build(self, params: Params, work: Path) -> Built:
        with (self._run_dir / EVALUATIONS).open("a") as stream:
            stream.write(json.dumps({"number": self._spec.iteration, "params": dict(params)}) + "\n")
        kill_in = self._run_dir / KILL_IN
        if kill_in.exists() and int(kill_in.read_text()) == self._spec.iteration:
            kill_in.unlink()
            os.kill(_supervisor(), signal.SIGKILL)
            signal.pause()  # it does not get further: a trial ends with its supervisor
        return super().build(params, work)


def _supervisor() -> int:
    """This process, or where trials have their own the parent of the fork server."""
    if ENVIRONMENT_NAME not in os.environ:
        return os.getpid()
    return int(Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[1])
