"""What a training from recorded play is to do, and where the play comes from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from supervisor.contract import Reason
from supervisor.errors import TrialError
from supervisor.experience.store import BEGINNING, Page, Position

Pages = Callable[[Position], Iterator[Page]]
"""Opens the recorded play after a position, up to the end that was agreed on: the same rows whenever it is asked."""


@dataclass(frozen=True)
class Plan:
    """The first `old_rows` rows fill the memory and nothing else, gradient steps are spread evenly over the new ones.
    None is taken before the memory is full, or all is read: what is due by then follows at once.

    Rows that are missing, because the store has let go of them, are missed: the gradient steps are taken all the same.
    """

    since: Position = BEGINNING  # where the play to read begins: after this row
    old_rows: int = 0  # read first: play that earlier trainings have learnt from
    new_rows: int = 0  # read then
    gradient_steps: int = 1000  # at most
    passes: float = 20.0  # at most: rows learnt from, again and again, for each that is new
    batch_size: int = 256  # rows worked off at a time
    gradient_accumulation_steps: int = 4  # so many batches make one gradient step
    memory_rows: int = 65_536  # the newest are remembered
    priority_alpha: float = 0.6  # how far rows whose values are off are drawn more often, besides the game's priorities
    conservatism: float = 1.0  # how much it costs to leave what the start would do, as a factor of each method's own
    holdout_share: float = 0.1  # of the episodes: they are never learnt from, what was learnt is measured on them
    holdout_rows: int = 1000  # so many of their rows, the newest, are looked at
    validation_frequency: int = 1000  # gradient steps between such looks; the last step is followed by one in any case

    def __post_init__(self) -> None:
        """Raises TrialError that names every value no training can start with."""
        wrong = [f"{name} must be at least 1" for name in _COUNTS if getattr(self, name) < 1]
        if self.passes <= 0:
            wrong.append("passes must be above 0")
        wrong += [f"{name} must be at least 0" for name in ("old_rows", "new_rows") if getattr(self, name) < 0]
        if not 0 <= self.holdout_share < 1:
            wrong.append("holdout_share must be at least 0 and below 1")
        if wrong:
            raise TrialError(Reason.OUT_OF_RANGE, "; ".join(wrong))

    @property
    def effective_batch(self) -> int:
        """Rows that one gradient step learns from."""
        return self.batch_size * self.gradient_accumulation_steps

    @property
    def steps(self) -> int:
        """Gradient steps in all."""
        return min(self.gradient_steps, math.ceil(self.passes * self.new_rows / self.effective_batch))

    @property
    def filled_at(self) -> int:
        """Rows read before the first gradient step."""
        return min(self.old_rows + self.new_rows, self.memory_rows)

    def due(self, rows: int) -> int:
        """Gradient steps that so many rows, read from the first one on, pay for."""
        new = min(rows - self.old_rows, self.new_rows)
        return self.steps * new // self.new_rows if new > 0 and rows >= self.filled_at else 0

    def rows_until(self, step: int) -> int:
        """Rows read when gradient step number `step`, from 1 to all of them, is due."""
        return max(self.filled_at, self.old_rows - (-step * self.new_rows // self.steps))


_COUNTS = (
    "gradient_steps",
    "batch_size",
    "gradient_accumulation_steps",
    "memory_rows",
    "holdout_rows",
    "validation_frequency",
)
