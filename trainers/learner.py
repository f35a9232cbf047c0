"""What a built-in model type is made of: how it trains, what leaves it for production, how its file plays.

`arena_target` owns the order of things (train, save, export, measure); a model type of `trainers/models/` knows its
algorithm, its network and its task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import nn

from supervisor.contract import Params
from trainers.algorithms.from_play.plan import Pages, Plan
from trainers.target import Player

Floats = NDArray[np.float32]
State = dict[str, object]
"""Nested dictionaries and lists of tensors, numpy arrays and scalars: what `weights.pack` takes."""


@dataclass(frozen=True)
class Case:
    """What is trained for: an archetype against one level of the opponent, under a candidate's reward weights."""

    archetype: str
    level: int  # 1 to 5
    rewards: Params  # the `reward.*` parameters; missing ones take the archetype's defaults


@dataclass(frozen=True)
class Exported:
    """A network as it leaves for production.

    `network` is in evaluation mode; its forward takes the inputs and returns the outputs (a tensor, or a tuple of
    them) in the order given. Shapes leave the batch out; everything is float32. Recurrent state is an input and an
    output like any other, and zero where an episode begins.
    """

    network: nn.Module
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]


class Learner(Protocol):
    """One training. It runs in one torch thread, and takes every random number from (seed, step)."""

    @property
    def finished(self) -> bool: ...

    @property
    def steps_done(self) -> int:
        """In the unit of the budget: environment steps, or situations learnt from."""

    def advance(self) -> None:
        """One unit of work, well under a second. Raises TrialError when the training diverges."""

    def metrics(self) -> dict[str, float]:
        """Deterministic figures of the training so far; they enter the log line."""

    def final(self) -> State:
        """What a later training may start from."""

    def state(self) -> State:
        """All that the next step depends on."""

    def load_state(self, saved: Mapping[str, object]) -> None:
        """Go on from `state()`, as `weights.unpack` gives it back: with tensors for arrays."""

    def exported(self) -> Exported: ...


class Stack(Protocol):
    """Trainings that take their steps as one batch; each comes to the same bits as alone."""

    @property
    def finished(self) -> bool: ...

    @property
    def sound(self) -> Sequence[Learner]:
        """Those whose numbers did not blow up. What the others are now is no point to go on from."""

    def advance(self) -> None:
        """A step of every training that goes on. One that diverges goes no further, and says nothing here."""


@runtime_checkable
class Stacking(Protocol):
    """A model type whose trainings can share a batch."""

    def stacks(self, learners: Sequence[Learner]) -> list[Stack]:
        """All of them, in as few stacks as their shapes allow."""

    def memory_mb(self, args: Any) -> float:
        """What a training holds, above all its replay."""


@runtime_checkable
class LearnsFromPlay(Protocol):
    """A model type that can learn from what was played with its files, without any play of its own."""

    def learner_from_play(
        self, case: Case, args: Any, plan: Plan, seed: int, start: State | None, pages: Pages
    ) -> Learner:
        """A training from the rows that `pages` gives, whose rewards are taken as they are.

        `start` is the `final()` of the version to go on from, however that was trained, and what this one's `final()`
        gives is a start for any other training. Its steps are gradient steps; it may be restored with another `pages`
        that gives the same rows.
        """


class Session(Protocol):
    """A model file, ready to answer."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of the inputs, without the batch: a recurrent state's, or how long a window is."""

    def run(self, inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        """All outputs by name; the first dimension of everything is the rows."""


@dataclass(frozen=True)
class Rehearsal:
    """A model file tried on fresh fights or situations, which nothing was trained on.

    `inputs` are rows that it saw, some hundreds from the beginning to the end of episodes; `measured` the quantities
    that guards bound: entropy_bits, reward (points under the archetype's default weights), accuracy,
    explained_variance, as far as the model type has them.
    """

    inputs: Mapping[str, Floats]
    measured: Mapping[str, float]


class ModelType(Protocol):
    """One model type. `names` gives each field of the dataclass `args` its parameter's name in the search space."""

    args: type[Any]
    names: Mapping[str, str]

    def learner(self, case: Case, args: Any, steps: int, seed: int, start: State | None) -> Learner:
        """A training of `steps` (unit: see Learner.steps_done).

        `start` is the `final()` of the version to go on from: every tensor that fits is taken over. Raises ValueError
        for rewards that the archetype does not have.
        """

    def player(self, case: Case, session: Session) -> Player:
        """The file's side in scored games or situations; reward weights play no part in it."""

    def rehearse(self, case: Case, session: Session, first_seed: int) -> Rehearsal:
        """Try the file on the seeds from `first_seed` on."""

    def baseline(self, case: Case) -> tuple[str, Player] | None:
        """A simple rule's name and its side in the same games; None where they are fights against the traditional AI,
        which is the baseline itself."""
