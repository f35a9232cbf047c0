"""A target whose trials never listen to the wish to stop, for as long as a file named `stubborn` lies in their run
folder. For tests of the ways to leave."""

from __future__ import annotations

import threading
from pathlib import Path

from supervisor.contract import Params, TrialSpec
from tests.support.noop import NoopTarget
from trainers.target import Built, Control

MARK = "stubborn"
BEAT_S = 0.2


class StubbornTarget(NoopTarget):
    """Wins as the no-op target does; what it builds is the same with and without the file."""

    def __init__(self, spec: TrialSpec, folder: Path, control: Control) -> None:
        super().__init__(spec, folder, control)
        self._mark = folder.parent.parent / MARK

    def build(self, params: Params, work: Path) -> Built:
        pause = threading.Event()
        while self._spec.iteration > 1 and self._mark.exists():
            self._control.beat(1)
            pause.wait(BEAT_S)
        return super().build(params, work)
