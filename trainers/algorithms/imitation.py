"""What learners by imitation share: the course they go through, and what they make of a teacher's returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Snapshot = Mapping[str, NDArray[np.generic]]

AVERAGED_FIGHTS = 500.0
AVERAGED_LABELS = 4000.0
AVERAGED_STEPS = 100.0
"""Running means forget at these paces."""


class Course(Protocol):
    """Fights side by side, one after the other in every row, and a teacher who says what each choice would bring."""

    rows: int
    choices: int

    @property
    def observation(self) -> Floats:
        """(rows, inputs)"""

    def script(self) -> Ints:
        """What a script would choose, (rows,): the teacher's own play goes on so."""

    def step(self, choices: Ints) -> tuple[Bools, Floats]:
        """Which fights ended, and their scores (win 1, draw 1/2, loss 0)."""

    def snapshot(self, rows: Ints) -> Snapshot: ...

    def returns(self, snapshots: Sequence[Snapshot]) -> Floats:
        """(all their rows, choices)"""

    def state(self) -> Snapshot: ...

    def load_state(self, saved: Snapshot) -> None: ...


class Teaching:
    """Turns returns into targets: softmax(advantage / (temperature * their running root mean square)).

    Returns of one look ahead are noisy, and the best of ten noisy numbers is seldom the best choice: soft targets are
    averaged by the network over all situations alike, the hard ones of Ross et al. 2011 could not be.
    """

    def __init__(self, temperature: float) -> None:
        self._temperature = temperature
        self._square, self._count = 0.0, 0

    def targets(self, returns: Floats) -> Floats:
        """(n, choices) -> the same, rows of sum 1."""
        advantage = returns - returns.mean(1, keepdims=True)
        self._count += len(returns)
        pace = len(returns) / min(self._count, AVERAGED_LABELS)
        self._square += (float(np.square(advantage).mean(dtype=np.float64)) - self._square) * min(1.0, pace)
        scale = np.float32(self._temperature * max(self._square, 1e-12) ** 0.5)
        score = np.exp((returns - returns.max(1, keepdims=True)) / scale)
        targets: Floats = score / score.sum(1, keepdims=True)
        return targets

    def state(self) -> dict[str, object]:
        return {"square": self._square, "count": self._count}

    def load_state(self, saved: Mapping[str, object]) -> None:
        self._square, self._count = cast(float, saved["square"]), cast(int, saved["count"])


class Collected:
    """Running means over the fights that were played to learn from, and over the steps that learnt from them."""

    def __init__(self) -> None:
        self.fights = self.steps = 0
        self.score = self.loss = 0.0

    def note_fights(self, done: Bools, score: Floats) -> None:
        """One tick of all rows."""
        ended = int(done.sum())
        if ended:
            self.fights += ended
            mean = float(score[done].mean(dtype=np.float64))
            self.score += (mean - self.score) * min(1.0, ended / min(self.fights, AVERAGED_FIGHTS))

    def note_loss(self, loss: float) -> None:
        self.steps += 1
        self.loss += (loss - self.loss) / min(self.steps, AVERAGED_STEPS)

    def metrics(self) -> dict[str, float]:
        return {"train_score": self.score, "train_loss": self.loss, "gradient_steps": float(self.steps)}

    def state(self) -> dict[str, object]:
        return dict(vars(self))

    def load_state(self, saved: Mapping[str, object]) -> None:
        values = cast(Mapping[str, Any], saved)
        self.fights, self.steps = int(values["fights"]), int(values["steps"])
        self.score, self.loss = float(values["score"]), float(values["loss"])


@dataclass(frozen=True)
class Mix:
    """What fights that are learnt from are played by, beside the learner."""

    script: float  # chance of the script's choice
    noise: float  # chance of any choice


def play(
    course: Course,
    ticks: int,
    asked: int,
    choose: Callable[[Floats, Ints], Ints],
    over: Callable[[Bools, Floats], None],
    mix: Mix,
    rng: np.random.Generator,
) -> Floats:
    """Some ticks of all fights; the teacher's returns for `asked` rows of each, in order, (ticks * asked, choices).

    `choose` is given what is seen and the rows the teacher will be asked about, and says what the learner would do;
    `over` is told which fights ended, and their scores.
    """
    snapshots: list[Snapshot] = []
    for _ in range(ticks):
        rows = rng.choice(course.rows, asked, replace=False)
        snapshots.append(course.snapshot(rows))
        own, script = choose(course.observation, rows), course.script()
        over(*course.step(mixed(own, script, course.choices, mix, rng)))
    return course.returns(snapshots)


def mixed(own: Ints, script: Ints, choices: int, mix: Mix, rng: np.random.Generator) -> Ints:
    """What is played: any choice with chance `noise`, else the script's with chance `script`, else the learner's own.

    Ross et al. 2011 mix their expert in; the script is the expert here, for the teacher's own choice is known only
    where it was asked.
    """
    draw = rng.random((2, len(own)))
    played = np.where(draw[0] < mix.script, script, own)
    return np.where(draw[1] < mix.noise, rng.integers(0, choices, len(own)), played)


def leaning(share: float, over: float) -> float:
    """How often the script is followed after `share` of a training: from 1 to 0 over its first part `over`."""
    return max(0.0, 1.0 - share / over) if over > 0 else 0.0


def arrays(state: object) -> dict[str, NDArray[np.generic]]:
    """A saved part's numpy arrays, which `weights.unpack` gives back as tensors."""
    return {name: np.asarray(value) for name, value in cast(Mapping[str, Any], state).items()}
