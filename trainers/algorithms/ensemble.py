"""A bootstrapped ensemble (Lakshminarayanan et al. 2017, Osband et al. 2016) with a temperature calibrated on held-out
data (Guo et al. 2017).

Read top to bottom. Situation i of a training has seed `seed + i`, so nothing is stored and none is seen twice; each
ensemble member weighs it by a Poisson(1) count of its own, which is the bootstrap of a stream (Oza and Russell 2001).
What a step learns from follows from the step, so a training restored from `state()` goes on bit for bit; one torch
thread is assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from supervisor.contract import Reason
from supervisor.errors import TrialError
from trainers.algorithms.patience import LOOKS, Patience
from trainers.algorithms.supervised import DRAWN_STEPS, InBlocks, Supervised, seeds
from trainers.device import copied
from trainers.learner import Exported, State
from trainers.networks.ensemble import EnsembleNetwork
from trainers.networks.layers import Weights, widths

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Seeds = NDArray[np.uint64]

HELD_OUT_FIGHTS = 512
"""Fights that no gradient step sees, beyond the last: half for the temperature, half for the figures."""

AVERAGED_STEPS = 100.0
"""The running mean of the loss forgets at this pace."""

COLDEST, WARMEST = 0.1, 10.0
"""Temperatures looked at."""

BINS = 15


@dataclass(frozen=True)
class Args:
    """One field per parameter of the search space."""

    learning_rate: float  # of AdamW at the start, times the factor
    learning_rate_factor: float  # a small network takes larger steps
    learning_rate_end: float  # share of it left at the last step
    weight_decay: float
    gradient_clip: float  # largest norm of a gradient
    stake: float  # how much more a situation counts in which much was at stake: 1 + stake * |shaped return|
    bootstrap: bool  # members weigh situations differently; without, they differ in their first weights alone
    members: int
    hidden: str  # widths of each member's hidden layers, "64,64"
    fights: int  # whose members' situations make one step
    accumulation: int  # micro-batches that they are worked off in
    patience: int  # looks (50 over the budget) at held-out situations without progress before it ends; 0 never
    amp: bool

    def __post_init__(self) -> None:
        """Raises TrialError that names every value no training can start with."""
        wrong = [f"{name} must be at least 1" for name in _COUNTS if getattr(self, name) < 1]
        try:
            widths(self.hidden)
        except ValueError as error:
            wrong.append(f"hidden {error}")
        if self.stake < 0:
            wrong.append("stake must not be below 0")
        if wrong:
            raise TrialError(Reason.OUT_OF_RANGE, "; ".join(wrong))


_COUNTS = ("members", "fights", "accumulation")


class Situations(Protocol):
    """What each of n fights' members saw at one moment, and who hurt it most afterwards."""

    @property
    def observation(self) -> Floats:
        """(n, pack, inputs)"""

    @property
    def threat(self) -> Ints:
        """(n, pack): the class."""

    @property
    def stake(self) -> Floats:
        """(n, pack): the size of the shaped return."""

    @property
    def standing(self) -> NDArray[np.bool_]:
        """(n, pack): the others saw nothing."""

    @property
    def nearest(self) -> Ints:
        """(n, pack): what the baseline answers."""


@dataclass
class Figures:
    """The training's running mean, and what the last look at the held-out situations found."""

    loss: float = 0.0
    accuracy: float = 0.0
    baseline_accuracy: float = 0.0
    nll: float = 0.0
    ece: float = 0.0
    ece_uncalibrated: float = 0.0
    disagreement: float = 0.0  # mean mutual information, nats


class Ensemble(Supervised):
    """A Learner. `steps` are situations; `draw` makes those of the fights of some seeds."""

    def __init__(
        self,
        args: Args,
        draw: Callable[[Seeds], Situations],
        steps: int,
        seed: int,
        inputs: int,
        classes: int,
        pack: int,
        start: Mapping[str, Weights] | None = None,
    ) -> None:
        self.args, self.draw, self.inputs, self.classes = args, draw, inputs, classes
        torch.manual_seed(seed)
        self.network = EnsembleNetwork(args.members, inputs, widths(args.hidden), classes)
        self._per_step = args.fights * pack
        last_t = max(1, steps // self._per_step)
        super().__init__(self.network, args, seed, last_t, Patience(args.patience, last_t), start)
        self.figures = Figures()
        self._drawn = InBlocks(draw, args.fights)
        # torch aligns its memory, numpy does not: with fixed buffers the kernels always see the same layout
        self._o = torch.zeros(self._per_step, inputs)

    @property
    def steps_done(self) -> int:
        return self.t * self._per_step

    def advance(self) -> None:
        """One gradient step; with the last one, the calibration. Raises TrialError when it diverges."""
        y, w = self._situations()
        rows = torch.arange(self._per_step).tensor_split(self.args.accumulation)
        loss = self.follow([partial(self._loss, part, y, w) for part in rows])
        self.t += 1
        self.figures.loss += (loss - self.figures.loss) / min(self.t, AVERAGED_STEPS)
        due = self.args.patience > 0 and self.t * LOOKS // self.last_t > (self.t - 1) * LOOKS // self.last_t
        if due or self.t >= self.last_t:
            self._calibrate()
            self.patience.note(self.t, -self.figures.nll)

    def _situations(self) -> tuple[Tensor, Tensor]:
        """Fills the buffer with this step's observations; their classes [n] and each member's weights [members, n]."""
        fights = self.args.fights
        found, rows = self._drawn.at(self.seed, self.t)
        self._o.numpy()[:] = found.observation[rows].reshape(-1, self.inputs)
        stake = (1 + np.float32(self.args.stake) * found.stake[rows]) * found.standing[rows]
        stake /= max(float(stake.mean(dtype=np.float64)), 1e-9)
        rng = np.random.Generator(np.random.Philox(key=self.seed, counter=self.t << 128))
        counts = np.ones((self.args.members, fights, 1), np.float32)
        if self.args.bootstrap:
            counts = rng.poisson(1.0, counts.shape).astype(np.float32)
        weight = (counts * stake).reshape(self.args.members, -1)
        return copied(found.threat[rows].reshape(-1), self.device), copied(weight, self.device)

    def _loss(self, rows: Tensor, y: Tensor, w: Tensor) -> Tensor:
        """The members' weighted cross-entropies, summed: none of them feels the others."""
        z = self.network.logits(self._o[rows].to(self.device))
        target = y[rows].repeat(self.args.members)
        each = functional.cross_entropy(z.flatten(0, 1), target, reduction="none").view(self.args.members, -1)
        return (each * w[:, rows]).mean(1).sum()

    def _calibrate(self) -> None:
        """The temperature from one half of the held-out situations, the figures from the other."""
        found = self.draw(seeds(self.seed, (self.last_t + DRAWN_STEPS) * self.args.fights, HELD_OUT_FIGHTS))
        up = found.standing.reshape(-1)
        o = copied(found.observation.reshape(-1, self.inputs)[up], self.device)
        y, nearest = found.threat.reshape(-1)[up], found.nearest.reshape(-1)[up]
        with torch.no_grad():
            z = self.network.logits(o).cpu().numpy().astype(np.float64)
        half = len(y) // 2
        temperature = fitted_temperature(z[:, :half], y[:half])
        self.network.temperature.fill_(temperature)
        z, y, nearest = z[:, half:], y[half:], nearest[half:]
        each = softmax(z / temperature)
        p = each.mean(0)
        f = self.figures
        f.accuracy = float((p.argmax(1) == y).mean())
        f.baseline_accuracy = float((nearest == y).mean())
        f.nll = nll(p, y)
        f.ece, f.ece_uncalibrated = calibration_error(p, y), calibration_error(softmax(z).mean(0), y)
        f.disagreement = float((entropy(p) - entropy(each).mean(0)).mean())

    def metrics(self) -> dict[str, float]:
        """Figures at the end; deterministic. Those of held-out situations are 0 before."""
        found = {("train_loss" if name == "loss" else name): value for name, value in vars(self.figures).items()}
        temperature = float(self.network.temperature[0])
        return {
            **found,
            "temperature": temperature,
            "gradient_steps": float(self.t),
            "warm_start": float(self.warm),
        }

    def exported(self) -> Exported:
        return Exported(
            self.network.eval(),
            {"observation": (self.inputs,)},
            {"probabilities": (self.classes,), "uncertainty": (2,)},
        )

    def state(self) -> State:
        """All that the next step depends on."""
        return {**super().state(), "figures": dict(vars(self.figures))}

    def load_state(self, saved: Mapping[str, object]) -> None:
        super().load_state(saved)
        self.figures = Figures(**cast(Mapping[str, float], saved["figures"]))


def softmax(z: Doubles) -> Doubles:
    """Over the last axis."""
    e = np.exp(z - z.max(-1, keepdims=True))
    share: Doubles = e / e.sum(-1, keepdims=True)
    return share


def entropy(p: Doubles) -> Doubles:
    """In nats, over the last axis."""
    found: Doubles = -(p * np.log(np.maximum(p, 1e-12))).sum(-1)
    return found


def nll(p: Doubles, y: Ints) -> float:
    """Mean negative log-likelihood of the classes y (n,) under p (n, classes)."""
    return float(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)).mean())


def calibration_error(p: Doubles, y: Ints) -> float:
    """Expected calibration error (Guo et al. 2017): |accuracy - confidence| over equal bins of confidence, weighted."""
    confidence, right = p.max(1), p.argmax(1) == y
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gap = np.bincount(bins, right, BINS) - np.bincount(bins, confidence, BINS)
    return float(np.abs(gap).sum() / len(y))


def fitted_temperature(z: Doubles, y: Ints) -> float:
    """The T that makes the mean of softmax(z_k / T) fit y best, by golden-section search over log T.

    z are logits (members, n, classes), y classes (n,).
    """
    golden = (5**0.5 - 1) / 2
    low, high = np.log(COLDEST), np.log(WARMEST)

    def cost(log_t: float) -> float:
        return nll(softmax(z / np.exp(log_t)).mean(0), y)

    while high - low > 1e-3:
        left, right = high - golden * (high - low), low + golden * (high - low)
        if cost(left) < cost(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))
