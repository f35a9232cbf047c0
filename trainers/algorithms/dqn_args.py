"""The training parameters of Double DQN."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from supervisor.contract import Reason
from supervisor.errors import TrialError


@dataclass(frozen=True)
class Args:
    """One field per parameter `dqn.<field>` of the search space."""

    learning_rate: float  # of AdamW at the start
    learning_rate_end: float  # share of it left at the last step
    weight_decay: float  # 0 makes it Adam
    gradient_clip: float  # largest norm of a gradient
    gamma: float  # discount per tick
    n_step: int  # rewards summed before the bootstrap
    batch_size: int
    accumulation: int  # parts that a batch is split into, to need less memory
    amp: bool  # mixed precision, on a GPU
    updates: int  # gradient steps per step of all fights
    target_interval: int  # gradient steps between copies into the target network, seen from the next step of all fights
    replay_rows: int  # steps of all fights that replay holds
    learning_starts: int  # steps of all fights before the first gradient step
    priority_alpha: float  # how far priorities skew the draw; 0 is uniform
    priority_beta: float  # importance-sampling correction at the start; 1 at the end
    exploration_noise: float  # epsilon once exploration has fallen
    exploration_fraction: float  # share of the steps over which it falls
    double: bool  # the online network chooses the next action, the target network values it
    dueling: bool
    hidden: str  # widths of the hidden layers, "128,128"
    dropout: float
    patience: int  # of 50 looks at the win rate, how many in a row without a new best end the training; 0: none do

    def __post_init__(self) -> None:
        """Raises TrialError that names every value no training can start with."""
        wrong = [f"{name} must be at least 1" for name in _COUNTS if getattr(self, name) < 1]
        if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", self.hidden):
            wrong.append(f'hidden must be widths like "128,128", not {self.hidden!r}')
        if self.replay_rows <= self.n_step:
            wrong.append("replay_rows must be above n_step")
        if self.batch_size % max(1, self.accumulation):
            wrong.append(f"batch_size {self.batch_size} must be a multiple of accumulation {self.accumulation}")
        if self.exploration_fraction <= 0:
            wrong.append("exploration_fraction must be above 0")
        if wrong:
            raise TrialError(Reason.OUT_OF_RANGE, "; ".join(wrong))

    @property
    def learns_from(self) -> int:
        """The step of all fights with the first gradient step."""
        return max(self.learning_starts, self.n_step + 1)

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(int(width) for width in self.hidden.split(","))


_COUNTS = ("n_step", "batch_size", "accumulation", "updates", "target_interval")

_ELSEWHERE = ("learning_rate", "exploration_noise")  # an archetype has its own default for them
NAMES: Mapping[str, str] = {
    name: f"training.{name}" if name in _ELSEWHERE else f"dqn.{name}" for name in Args.__dataclass_fields__
}
"""Each field's parameter in the search space."""
