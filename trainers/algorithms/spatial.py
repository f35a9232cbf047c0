"""Imitation from maps: a vision transformer (Dosovitskiy et al. 2021) learns to steer from a teacher that looks ahead.

DAgger (Ross et al. 2011): fights are played by the network itself, more and more, the teacher is asked about some of
the ticks, and the network is trained on the newest of all that was gathered. What is kept are sketches; the maps are
drawn from them whenever they are needed.

Read top to bottom. Schedules are functions of the absolute round and every random number comes from (seed, round), so a
training restored from `state()` goes on bit for bit; one torch thread is assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from supervisor.contract import Reason
from supervisor.errors import TrialError
from trainers.algorithms.imitation import Bools, Collected, Course, Floats, Ints, Mix, Teaching, arrays, leaning, play
from trainers.algorithms.patience import Patience
from trainers.algorithms.supervised import Supervised
from trainers.learner import Exported, State
from trainers.networks.layers import Weights
from trainers.networks.vit import Picture, VisionTransformer


@dataclass(frozen=True)
class Args:
    """One field per parameter `spatial.<field>` of the search space."""

    learning_rate: float  # of AdamW at the start, times the factor
    learning_rate_factor: float  # a small network takes larger steps
    learning_rate_end: float  # share of it left at the last step
    weight_decay: float
    gradient_clip: float  # largest norm of a gradient
    exploration_noise: float  # share of choices at random while fights are gathered
    script_fraction: float  # share of the training over which the script is followed less and less
    temperature: float  # of the targets, in units of the advantages' size: 0.1 is almost the best choice alone
    label_share: float  # of the ticks the teacher is asked about
    held: int  # ticks that a direction is held in the teacher's mind
    horizon: int  # ticks that the teacher looks ahead
    rows: int  # fights side by side
    ticks: int  # of one round
    kept: int  # labelled ticks that are trained on, the newest
    batch_size: int  # of one micro-batch
    accumulation: int  # micro-batches of one step
    updates: int  # steps per round
    patch: int  # cells of the map that make one token, along each side
    layers: int
    width: int
    heads: int
    dropout: float
    checkpointing: bool  # compute inner values again for the gradient instead of keeping them
    patience: int  # looks at the fights' scores without progress after which it ends; 0 goes on to the last step
    amp: bool

    def __post_init__(self) -> None:
        """Raises TrialError that names every value no training can start with."""
        wrong = [f"{name} must be at least 1" for name in _COUNTS if getattr(self, name) < 1]
        if not wrong and self.width % self.heads:
            wrong.append(f"width {self.width} must be a multiple of heads {self.heads}")
        if not 0 < self.label_share <= 1:
            wrong.append("label_share must be above 0 and at most 1")
        if self.temperature <= 0:
            wrong.append("temperature must be above 0")
        if wrong:
            raise TrialError(Reason.OUT_OF_RANGE, "; ".join(wrong))

    @property
    def asked(self) -> int:
        """Rows of each tick that the teacher is asked about."""
        return max(1, round(self.label_share * self.rows))


_COUNTS = (
    *("held", "horizon", "rows", "ticks", "kept", "batch_size", "accumulation", "updates"),
    *("patch", "layers", "width", "heads"),
)
_ELSEWHERE = ("learning_rate", "exploration_noise")
NAMES: Mapping[str, str] = {
    name: f"training.{name}" if name in _ELSEWHERE else f"spatial.{name}" for name in Args.__dataclass_fields__
}
"""Each field's parameter in the search space."""


@dataclass(frozen=True)
class Drawing:
    """How a sketch becomes what the network is shown."""

    grid: Callable[[Floats], Floats]  # (n, sketch) -> (n, planes, side, side)
    numbers: Callable[[Floats], Floats]  # (n, sketch) -> (n, scalars)
    planes: int
    side: int
    scalars: int


class SpatialImitation(Supervised):
    """A learner; `steps` are environment steps."""

    def __init__(
        self,
        args: Args,
        course: Course,
        drawing: Drawing,
        steps: int,
        seed: int,
        start: Mapping[str, Weights] | None = None,
    ) -> None:
        if drawing.side % args.patch:
            raise TrialError(Reason.OUT_OF_RANGE, f"patch {args.patch} must divide the map's side, {drawing.side}")
        self.args, self.course, self.drawing = args, course, drawing
        torch.manual_seed(seed)
        self.picture = Picture(drawing.planes, drawing.side, args.patch, drawing.scalars)
        self.network = VisionTransformer(
            self.picture, course.choices, args.width, args.layers, args.heads, args.dropout, args.checkpointing
        )
        rounds = steps // (course.rows * args.ticks)
        super().__init__(self.network, args, seed, rounds, Patience(args.patience, steps), start)
        self.sketches = np.zeros((args.kept, course.observation.shape[1]), np.float32)
        self.targets = np.zeros((args.kept, course.choices), np.float32)
        self.labelled = 0  # ever; the newest lie in a ring
        self.teaching, self.collected = Teaching(args.temperature), Collected()
        # torch aligns its memory, numpy does not: with fixed buffers the kernels always see the same layout
        grid = (drawing.planes, drawing.side, drawing.side)
        self._seen = torch.zeros(course.rows, *grid), torch.zeros(course.rows, drawing.scalars)
        batches = (args.accumulation, args.batch_size)
        self._grids, self._numbers = torch.zeros(*batches, *grid), torch.zeros(*batches, drawing.scalars)
        self._wanted = torch.zeros(*batches, course.choices)

    @property
    def steps_done(self) -> int:
        return self.t * self.course.rows * self.args.ticks

    def advance(self) -> None:
        """Some ticks of every fight, the teacher's word on them, then steps. Raises TrialError when numbers blow up."""
        rng = np.random.Generator(np.random.Philox(key=self.seed, counter=self.t << 128))
        self._gather(rng)
        for _ in range(self.args.updates):
            self._learn(rng)
        self.t += 1
        self.patience.note(self.steps_done, self.collected.score)

    def _gather(self, rng: np.random.Generator) -> None:
        args, asked = self.args, []

        def choose(sketch: Floats, rows: Ints) -> Ints:
            asked.append(sketch[rows])
            return self._act(sketch)

        def over(done: Bools, score: Floats) -> None:
            self.collected.note_fights(done, score)

        mix = Mix(leaning(self.share, args.script_fraction), args.exploration_noise)
        returns = play(self.course, args.ticks, args.asked, choose, over, mix, rng)
        places = (self.labelled + np.arange(len(returns))) % args.kept
        self.sketches[places] = np.concatenate(asked)
        self.targets[places] = self.teaching.targets(returns)
        self.labelled += len(returns)

    def _act(self, sketch: Floats) -> Ints:
        grid, numbers = self._seen
        grid.numpy()[:], numbers.numpy()[:] = self.drawing.grid(sketch), self.drawing.numbers(sketch)
        with torch.no_grad():
            choices: Ints = self.network(grid.to(self.device), numbers.to(self.device)).argmax(1).cpu().numpy()
        return choices

    def _learn(self, rng: np.random.Generator) -> None:
        for number in range(self.args.accumulation):
            drawn = rng.integers(0, min(self.labelled, self.args.kept), self.args.batch_size)
            sketch = self.sketches[drawn]
            self._grids[number].numpy()[:] = self.drawing.grid(sketch)
            self._numbers[number].numpy()[:] = self.drawing.numbers(sketch)
            self._wanted[number].numpy()[:] = self.targets[drawn]
        losses = [partial(self._loss, number) for number in range(self.args.accumulation)]
        self.collected.note_loss(self.follow(losses))

    def _loss(self, number: int) -> Tensor:
        """Cross-entropy against the teacher's targets."""
        logits = self.network(self._grids[number].to(self.device), self._numbers[number].to(self.device))
        return -(self._wanted[number].to(self.device) * functional.log_softmax(logits, 1)).sum(1).mean()

    def metrics(self) -> dict[str, float]:
        """Figures at the end; deterministic."""
        return {**self.collected.metrics(), "warm_start": float(self.warm)}

    def exported(self) -> Exported:
        p = self.picture
        inputs = {"grid": (p.planes, p.side, p.side), "state": (p.scalars,)}
        return Exported(self.network, inputs, {"logits": (self.course.choices,)})

    def state(self) -> State:
        """All that the next round depends on."""
        return {
            **super().state(),
            "environment": dict(self.course.state()),
            "labels": {"sketches": self.sketches, "targets": self.targets, "labelled": self.labelled},
            "teaching": self.teaching.state(),
            "collected": self.collected.state(),
        }

    def load_state(self, saved: Mapping[str, object]) -> None:
        super().load_state(saved)
        state = cast(Mapping[str, Mapping[str, object]], saved)
        self.course.load_state(arrays(state["environment"]))
        labels = state["labels"]
        self.sketches[:], self.targets[:] = np.asarray(labels["sketches"]), np.asarray(labels["targets"])
        self.labelled = cast(int, labels["labelled"])
        self.teaching.load_state(state["teaching"])
        self.collected.load_state(state["collected"])
