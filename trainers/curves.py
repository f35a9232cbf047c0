"""A training's figures as TensorBoard scalars, written while it runs: `trials/000042/curves/<archetype>.<model type>`.

Only where `run.tensorboard` asks for it. Nothing depends on these files; what a trial that goes on has written twice
TensorBoard shows once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from supervisor.contract import TrialSpec

FOLDER_NAME = "curves"
LOOKS = 100
"""Points of a curve, evenly spaced over the budget."""


class Curves(Protocol):
    """Where a training's figures go."""

    def note(self, step: int, metrics: Callable[[], Mapping[str, float]]) -> None:
        """Called after every unit of work; `metrics` is asked when a point is due."""

    def close(self) -> None: ...


class NoCurves:
    """Nobody looks."""

    def note(self, step: int, metrics: Callable[[], Mapping[str, float]]) -> None: ...

    def close(self) -> None: ...


class TensorBoardCurves:
    """Event files of one training."""

    def __init__(self, folder: Path, steps: int) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter  # half a second, for those who ask

        self._writer = EventFileWriter(str(folder))
        self._every = max(1, steps // LOOKS)
        self._look = -1

    def note(self, step: int, metrics: Callable[[], Mapping[str, float]]) -> None:
        if step // self._every == self._look:
            return
        self._look = step // self._every
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag_of(name), simple_value=value) for name, value in metrics().items()]
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def close(self) -> None:
        self._writer.close()


def open_curves(spec: TrialSpec, folder: Path) -> Curves:
    """Of a trial's training, as its spec wants them."""
    if not spec.curves:
        return NoCurves()
    return TensorBoardCurves(folder / FOLDER_NAME / spec.target.replace("/", "."), spec.budget.steps)


def tag_of(name: str) -> str:
    """`train_loss` stands under `train`, what has no such group under `training`."""
    group, _, rest = name.partition("_")
    return f"train/{rest}" if group == "train" and rest else f"training/{name}"
