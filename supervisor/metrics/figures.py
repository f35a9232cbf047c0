"""What a run looks like from outside at one moment: made by the loop at the end of a turn, read by anybody."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from supervisor.clock import Clock, unix_s
from supervisor.contract import Waiting
from supervisor.journal.log import LOG_NAME
from supervisor.parts import Turn
from supervisor.state import State

LOOK_S = 10.0  # no more often than this the disk is asked: it may be far away


@dataclass(frozen=True)
class Figures:
    """Times are seconds since the epoch; None is not known."""

    state: State
    targets: tuple[str, ...]  # those that are searched, and those that have lines
    workers: int
    started_s: float | None  # this process
    turned_s: float | None  # the end of the loop's last turn
    running: int = 0
    waiting: Waiting | None = None
    cycle: int = 0  # the last look for new experiences
    store_up: bool = True  # the last one got an answer, or there was none
    devices: tuple[str, ...] = ()  # that trials run on
    free_disk_bytes: int | None = None
    log_bytes: int | None = None


class Observer:
    """Keeps the figures of the latest turn. The loop writes, any thread reads: one reference is exchanged, no lock."""

    def __init__(self, run_dir: Path, state: State, targets: Iterable[str], workers: int, clock: Clock) -> None:
        self._run_dir = run_dir
        self._clock = clock
        self._looked_s = float("-inf")
        now_s = unix_s(clock.now_text())
        self.figures = Figures(state, tuple(sorted({*targets, *state.targets})), workers, now_s, now_s)
        self.turn(Turn(state, 0, None))

    def turn(self, turn: Turn) -> None:
        """One turn of the loop is done."""
        self.figures = replace(self.figures, **vars(turn), turned_s=unix_s(self._clock.now_text()))
        now_s = self._clock.monotonic_s()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self._look()

    def beat(self) -> None:
        """A turn takes long, but gets on."""
        self.figures = replace(self.figures, turned_s=unix_s(self._clock.now_text()))

    def _look(self) -> None:
        """A disk that does not answer is the loop's business."""
        try:
            free = shutil.disk_usage(self._run_dir).free
        except OSError:
            free = None
        try:
            size = (self._run_dir / LOG_NAME).stat().st_size
        except OSError:  # nothing committed yet, or it was moved away
            size = None
        self.figures = replace(self.figures, free_disk_bytes=free, log_bytes=size)
