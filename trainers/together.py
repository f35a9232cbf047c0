"""Several trainings as one batch, each with its own folder, where it leaves the points that it would leave alone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from supervisor.errors import TrialError
from supervisor.journal import durable
from trainers import weights
from trainers.learner import Learner, Stack, Stacking
from trainers.target import Control

SAVE_SHARE = 0.05
"""Of the time, at most, that saving takes: many points are written one after the other."""


@dataclass(frozen=True)
class Training:
    """One that can be begun, or gone on with. `learner` makes it as far as its folder has it, or raises TrialError."""

    work: Path
    memory_mb: float
    learner: Callable[[], Learner]
    control: Control | None = None  # of a trial of its own: its heartbeat says how far it is


def train_together(
    kind: Stacking, trainings: Iterable[Training], memory_mb: float, save_interval_s: float, control: Control
) -> None:
    """To the end of each, as many at a time as memory holds. Raises StopRequested after saving.

    One that cannot begin, or diverges, is left where it was last well: by itself it comes to the same end.
    """
    for share in _shares(trainings, memory_mb):
        _Share(share, save_interval_s, control).train(kind)


def save_point(work: Path, learner: Learner) -> None:
    """A disk without room costs no more than the work since the point before."""
    with contextlib.suppress(durable.DiskFullError):
        weights.save_point(work, learner.steps_done, learner.state())


def _shares(trainings: Iterable[Training], memory_mb: float) -> Iterator[list[Training]]:
    share: list[Training] = []
    held_mb = 0.0
    for training in trainings:
        if share and held_mb + training.memory_mb > memory_mb:
            yield share
            share, held_mb = [], 0.0
        share.append(training)
        held_mb += training.memory_mb
    if share:
        yield share


class _Share:
    """Trainings that memory holds at the same time."""

    def __init__(self, trainings: Sequence[Training], save_interval_s: float, control: Control) -> None:
        self._control, self._save_interval_s = control, save_interval_s
        self._pairs: list[tuple[Training, Learner]] = []
        for training in trainings:
            with contextlib.suppress(TrialError):
                self._pairs.append((training, training.learner()))
        self._saved = {training.work: learner.steps_done for training, learner in self._pairs}
        self._stacks: list[Stack] = []
        self._save_at_s = time.monotonic() + save_interval_s

    def train(self, kind: Stacking) -> None:
        self._stacks = kind.stacks([learner for _, learner in self._pairs])
        for stack in self._stacks:
            while not stack.finished:
                stopping = self._control.stop_requested
                if stopping or time.monotonic() >= self._save_at_s:
                    self._save()
                if stopping:
                    self._control.check()
                stack.advance()
                self._beat()
        self._save()

    def _save(self) -> None:
        """The points of those that are further than theirs."""
        began_s = time.monotonic()
        sound = [learner for stack in self._stacks for learner in stack.sound]
        for training, learner in self._pairs:
            if learner.steps_done > self._saved[training.work] and any(learner is other for other in sound):
                save_point(training.work, learner)
                self._saved[training.work] = learner.steps_done
                self._beat()
        now_s = time.monotonic()
        self._save_at_s = now_s + max(self._save_interval_s, (now_s - began_s) / SAVE_SHARE)

    def _beat(self) -> None:
        self._control.beat(sum(learner.steps_done for _, learner in self._pairs) // len(self._pairs))
        for training, learner in self._pairs:
            if training.control is not None:
                training.control.beat(learner.steps_done)
