"""A no-op target whose build takes a time that its iteration decides, one in so many ten times as long."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from supervisor.contract import Params, TrialSpec
from tests.support.noop import NoopTarget
from trainers.target import Built, Control

LONGER = 10
CHECK_S = 0.2


def duration_s(iteration: int, base_s: float, one_in: int) -> float:
    """Seconds that the build of this iteration waits."""
    drawn = int.from_bytes(hashlib.sha256(f"pace {iteration}".encode()).digest()[:7], "big") % one_in
    return base_s * (LONGER if drawn == 0 else 1)


class PacedTarget(NoopTarget):
    """`base_s` and `one_in` are the target's settings."""

    def __init__(self, spec: TrialSpec, folder: Path, control: Control) -> None:
        super().__init__(spec, folder, control)
        pace = spec.settings
        due_s = duration_s(spec.iteration, float(str(pace["base_s"])), int(str(pace["one_in"])))
        self._left_s = 0.0 if (folder / "duel.json").exists() else due_s  # a duel builds nothing anew

    def build(self, params: Params, work: Path) -> Built:
        while self._left_s > 0:
            wait_s = min(CHECK_S, self._left_s)
            time.sleep(wait_s)
            self._left_s -= wait_s
            self._control.beat(0)
            self._control.check()
        return super().build(params, work)
