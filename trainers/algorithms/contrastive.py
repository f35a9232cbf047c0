"""Recognition by cross-entropy and supervised contrast (Khosla et al. 2020), on situations that never repeat.

Read top to bottom. Situation i of a training has seed `seed + i`, so nothing is stored: what a step learns from follows
from the step, and a training restored from `state()` goes on bit for bit. One torch thread is assumed.
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
from trainers.algorithms.patience import Patience
from trainers.algorithms.supervised import InBlocks, Supervised, seeds
from trainers.learner import Exported, State
from trainers.networks.encoder import Encoder, WindowEncoder
from trainers.networks.layers import Weights

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Seeds = NDArray[np.uint64]

HELD_OUT = 512
"""Situations that no training step sees: those after the last."""

LOOKS = 20
"""At them, evenly spaced over the budget: one takes about as long as five steps."""

AVERAGED_STEPS = 100.0
"""Running means forget at this pace."""


@dataclass(frozen=True)
class Args:
    """One field per parameter `recognition.<field>` of the search space."""

    learning_rate: float  # of AdamW at the start, times the factor
    learning_rate_factor: float  # a small network takes larger steps
    learning_rate_end: float  # share of it left at the last step
    weight_decay: float
    gradient_clip: float  # largest norm of a gradient
    batch_size: int  # situations of one micro-batch: only these are contrasted with each other
    accumulation: int  # micro-batches of one step
    contrastive_weight: float  # of the contrastive loss beside the cross-entropy; 0 leaves it out
    temperature: float  # of the contrastive loss: the smaller, the more the nearest strangers count
    ticks: int  # of a window
    layers: int
    width: int
    heads: int
    embedding: int
    dropout: float
    checkpointing: bool  # compute inner values again for the gradient instead of keeping them
    patience: int  # looks at held-out situations without progress after which it ends; 0 goes on to the last step
    amp: bool

    def __post_init__(self) -> None:
        """Raises TrialError that names every value no training can start with."""
        wrong = [f"{name} must be at least 1" for name in _COUNTS if getattr(self, name) < 1]
        if not wrong and self.width % self.heads:
            wrong.append(f"width {self.width} must be a multiple of heads {self.heads}")
        if self.temperature <= 0:
            wrong.append("temperature must be above 0")
        if wrong:
            raise TrialError(Reason.OUT_OF_RANGE, "; ".join(wrong))


_COUNTS = ("batch_size", "accumulation", "ticks", "layers", "width", "heads", "embedding")
NAMES: Mapping[str, str] = {
    name: "training.learning_rate" if name == "learning_rate" else f"recognition.{name}"
    for name in Args.__dataclass_fields__
}
"""Each field's parameter in the search space."""


class Situations(Protocol):
    """n windows and what is to be recognised in each."""

    @property
    def windows(self) -> Floats:
        """(n, ticks, inputs)"""

    @property
    def style(self) -> Ints:
        """(n,): the class."""

    @property
    def returns(self) -> Floats:
        """(n,): how much was at stake in the window."""


@dataclass
class Means:
    """Running means over steps, and the last look at the held-out situations."""

    loss: float = 0.0
    held_out_accuracy: float = 0.0
    held_out_loss: float = 0.0


class ContrastiveRecognition(Supervised):
    """A learner; `steps` are situations. `draw` makes those of some seeds."""

    def __init__(
        self,
        args: Args,
        draw: Callable[[Seeds], Situations],
        steps: int,
        seed: int,
        inputs: int,
        classes: int,
        start: Mapping[str, Weights] | None = None,
    ) -> None:
        self.args, self.draw, self.steps, self.inputs, self.classes = args, draw, steps, inputs, classes
        torch.manual_seed(seed)
        encoder = Encoder(args.ticks, args.width, args.layers, args.heads, args.dropout, args.checkpointing)
        self.network = WindowEncoder(inputs, classes, args.embedding, args.width, encoder)
        self._situations_per_step = args.batch_size * args.accumulation
        optimizer_steps = steps // self._situations_per_step
        super().__init__(self.network, args, seed, optimizer_steps, Patience(args.patience, steps), start)
        self.means = Means()
        self._drawn = InBlocks(draw, self._situations_per_step)
        # torch aligns its memory, numpy does not: with fixed buffers the kernels always see the same layout
        self._windows = torch.zeros(args.accumulation, args.batch_size, args.ticks, inputs)

    @property
    def steps_done(self) -> int:
        return self.t * self._situations_per_step

    def advance(self) -> None:
        """One optimizer step. Raises TrialError when numbers blow up."""
        batches = [self._micro_batch(number) for number in range(self.args.accumulation)]
        loss = self.follow([partial(self._loss, *batch) for batch in batches])
        self.t += 1
        self.means.loss += (loss - self.means.loss) / min(self.t, AVERAGED_STEPS)
        due = self.args.patience and self.t * LOOKS // self.last_t > (self.t - 1) * LOOKS // self.last_t
        if due or self.t >= self.last_t:
            self._look_at_held_out()

    def _micro_batch(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Windows, classes and weights of one micro-batch of this step."""
        found, step = self._drawn.at(self.seed, self.t)
        begin = step.start + number * self.args.batch_size
        rows = slice(begin, begin + self.args.batch_size)
        self._windows[number].numpy()[:] = found.windows[rows]
        # What was at stake counts more, so that the reward weights matter.
        stake = 1 + np.abs(found.returns[rows])
        weight = torch.from_numpy(stake / stake.mean())
        classes = torch.from_numpy(found.style[rows].copy())
        return self._windows[number].to(self.device), classes.to(self.device), weight.to(self.device)

    def _loss(self, windows: Tensor, classes: Tensor, weight: Tensor) -> Tensor:
        logits, z = self.network(windows)
        loss = functional.cross_entropy(logits, classes, reduction="none")
        if self.args.contrastive_weight:
            contrast = supervised_contrastive(z, classes, self.args.temperature)
            loss = loss + self.args.contrastive_weight * contrast
        mean: Tensor = (weight * loss).mean()
        return mean

    def _look_at_held_out(self) -> None:
        found = self.draw(seeds(self.seed, self.steps + HELD_OUT, HELD_OUT))
        windows = torch.zeros(found.windows.shape)
        windows.numpy()[:] = found.windows
        with torch.no_grad():
            logits = self.network(windows.to(self.device))[0].cpu()
        classes = torch.from_numpy(found.style)
        self.means.held_out_accuracy = float((logits.argmax(1) == classes).double().mean())
        self.means.held_out_loss = float(functional.cross_entropy(logits, classes))
        self.patience.note(self.steps_done, -self.means.held_out_loss)

    def metrics(self) -> dict[str, float]:
        """Figures at the end; deterministic."""
        known = self.draw(seeds(self.seed, 0, 4 * HELD_OUT))
        asked = self.draw(seeds(self.seed, self.steps + HELD_OUT, HELD_OUT))
        return {
            "train_loss": self.means.loss,
            "held_out_loss": self.means.held_out_loss,
            "held_out_accuracy": self.means.held_out_accuracy,
            "baseline_accuracy": centroid_accuracy(known, asked, self.classes),
            "gradient_steps": float(self.t),
            "warm_start": float(self.warm),
        }

    def exported(self) -> Exported:
        return Exported(
            self.network,
            {"window": (self.args.ticks, self.inputs)},
            {"logits": (self.classes,), "embedding": (self.args.embedding,)},
        )

    def state(self) -> State:
        """All that the next step depends on."""
        return {**super().state(), "means": dict(vars(self.means))}

    def load_state(self, saved: Mapping[str, object]) -> None:
        super().load_state(saved)
        self.means = Means(**cast(Mapping[str, float], saved["means"]))


def supervised_contrastive(z: Tensor, classes: Tensor, temperature: float) -> Tensor:
    """L_out of Khosla et al. 2020, equation 2, for each of n unit vectors z (n, embedding), shape (n,).

    -1/|P(i)| sum over p in P(i) of log( exp(z_i z_p / T) / sum over a != i of exp(z_i z_a / T) ), P(i) being the others
    of i's class; 0 where there are none.
    """
    own = torch.eye(len(classes), dtype=torch.bool, device=z.device)
    similar = (z @ z.T / temperature).masked_fill(own, -torch.inf)
    log_share = torch.log_softmax(similar, 1).masked_fill(own, 0.0)
    positive = (classes[:, None] == classes) & ~own
    count = positive.sum(1).clamp(min=1)
    return -(log_share * positive).sum(1) / count


class NearestCentroid:
    """The baseline: the class whose mean observation of the known windows is nearest to a window's."""

    def __init__(self, known: Situations, classes: int) -> None:
        means = known.windows.mean(1)
        self._scale = means.std(0) + np.float32(1e-3)
        self._centroids: Floats = np.stack([means[known.style == k].mean(0) for k in range(classes)])

    def __call__(self, windows: Floats) -> Ints:
        """The class of each window, (n,)."""
        away = (windows.mean(1)[:, None] - self._centroids) / self._scale
        nearest: Ints = (away**2).sum(2).argmin(1)
        return nearest


def centroid_accuracy(known: Situations, asked: Situations, classes: int) -> float:
    """How often the baseline is right about `asked` once it has seen `known`."""
    return float((NearestCentroid(known, classes)(asked.windows) == asked.style).mean())
