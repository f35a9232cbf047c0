"""Imitation with a memory: a Transformer-XL (Dai et al. 2019) learns from a teacher that sees more than it does.

DAgger (Ross et al. 2011): fights are played by the network itself, more and more, the teacher is asked about some of
the ticks, and the network is trained on all that was gathered. Training reads the fights as streams: each step takes
the next segment of some of them, with the memory of the segment before.

Read top to bottom. Schedules are functions of the absolute round and every random number comes from (seed, round), so a
training restored from `state()` goes on bit for bit; one torch thread is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from trainers.networks.transformer_xl import OneTick, Shape, TransformerXL

NEVER = 2**30  # ticks that no fight lasts


@dataclass(frozen=True)
class Args:
    """One field per parameter `temporal.<field>` of the search space."""

    learning_rate: float  # of AdamW at the start, times the factor
    learning_rate_factor: float  # a small network takes larger steps
    learning_rate_end: float  # share of it left at the last step
    weight_decay: float
    gradient_clip: float  # largest norm of a gradient
    exploration_noise: float  # share of choices at random while fights are gathered
    script_fraction: float  # share of the training over which the script is followed less and less
    temperature: float  # of the targets, in units of the advantages' size: 0.1 is almost the best choice alone
    label_share: float  # of the ticks the teacher is asked about
    horizon: int  # ticks that the teacher looks ahead
    rows: int  # fights side by side
    fights_kept: int  # fights that are trained on, the newest
    segment: int  # ticks that are learnt from at once
    memory: int  # ticks before that each layer remembers
    streams: int  # fights read side by side in one micro-batch
    accumulation: int  # micro-batches of one step
    updates: int  # steps per round; a round plays a segment in every row
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
        if not wrong and self.width % (2 * self.heads):
            wrong.append(f"width {self.width} must be a multiple of twice the heads, {2 * self.heads}")
        if self.fights_kept < 4 * self.rows:
            wrong.append("fights_kept must be at least four times rows")
        if not 0 < self.label_share <= 1:
            wrong.append("label_share must be above 0 and at most 1")
        if self.temperature <= 0:
            wrong.append("temperature must be above 0")
        if wrong:
            raise TrialError(Reason.OUT_OF_RANGE, "; ".join(wrong))


_COUNTS = ("horizon", "rows", "segment", "memory", "streams", "accumulation", "updates", "layers", "width", "heads")
_ELSEWHERE = ("learning_rate", "exploration_noise")
NAMES: Mapping[str, str] = {
    name: f"training.{name}" if name in _ELSEWHERE else f"temporal.{name}" for name in Args.__dataclass_fields__
}
"""Each field's parameter in the search space."""


class Fights:
    """The newest fights that were played, tick by tick; a fight under way has a place but cannot be read yet."""

    def __init__(self, kept: int, rows: int, ticks: int, inputs: int, choices: int) -> None:
        self.seen = np.zeros((kept, ticks, inputs), np.float32)
        self.target = np.zeros((kept, ticks, choices), np.float32)  # 0 where the teacher was not asked
        self.length = np.zeros(kept, np.int64)  # 0 while it is under way, and where none was yet
        self.place = np.arange(rows)  # of every row's fight
        self.age = np.zeros(rows, np.int64)  # ticks that it has lasted
        self._next = rows

    def see(self, observation: Floats) -> None:
        """What every row sees in the tick to come."""
        self.seen[self.place, self.age] = observation

    def note(self, done: Ints) -> None:
        """The tick is over; fights in the rows `done` ended, others begin there."""
        self.age += 1
        for row in done:
            self.length[self.place[row]] = self.age[row]
            self.place[row] = self._free_place()
            self.age[row] = 0

    def _free_place(self) -> int:
        while self._next in self.place:
            self._next = (self._next + 1) % len(self.length)
        place = self._next
        self._next = (place + 1) % len(self.length)
        self.target[place] = 0
        self.length[place] = 0
        return place

    def readable(self) -> Ints:
        return np.flatnonzero(self.length)

    def state(self) -> dict[str, object]:
        return {**{name: getattr(self, name) for name in _FIGHT_ARRAYS}, "next": self._next}

    def load_state(self, saved: Mapping[str, object]) -> None:
        for name in _FIGHT_ARRAYS:
            getattr(self, name)[:] = np.asarray(saved[name])
        self._next = cast(int, saved["next"])


_FIGHT_ARRAYS = ("seen", "target", "length", "place", "age")


class Streams:
    """Readers of fights: each goes through one from its first tick to its last, then through another at random."""

    def __init__(self, count: int, memory: Tensor) -> None:
        self.place = np.zeros(count, np.int64)
        self.age = np.full(count, NEVER)  # of the tick to read next
        self.memory = memory  # (count, layers, ticks, width)

    def read(self, fights: Fights, ticks: int, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
        """The next segment of each: observations (count, ticks, inputs), ages (count, ticks), targets."""
        readable = fights.readable()
        place, age = np.empty((2, len(self.place), ticks), np.int64)
        for tick in range(ticks):
            over = self.age >= fights.length[self.place]
            self.place = np.where(over, rng.choice(readable, len(over)), self.place)
            self.age = np.where(over, 0, self.age)
            place[:, tick], age[:, tick] = self.place, self.age
            self.age += 1
        return fights.seen[place, age], age.astype(np.float32), fights.target[place, age]

    def state(self) -> dict[str, object]:
        return {"place": self.place, "age": self.age, "memory": self.memory}

    def load_state(self, saved: Mapping[str, object]) -> None:
        self.place, self.age = np.asarray(saved["place"]).copy(), np.asarray(saved["age"]).copy()
        self.memory = cast(Tensor, saved["memory"]).clone().to(self.memory.device)


class TemporalImitation(Supervised):
    """A learner; `steps` are environment steps."""

    def __init__(
        self,
        args: Args,
        course: Course,
        longest: int,
        steps: int,
        seed: int,
        start: Mapping[str, Weights] | None = None,
    ) -> None:
        """No fight of the course lasts more than `longest` ticks."""
        self.args, self.course = args, course
        torch.manual_seed(seed)
        inputs = course.observation.shape[1]
        self.shape = Shape(inputs, course.choices, args.layers, args.width, args.heads, args.memory)
        self.network = TransformerXL(self.shape, args.dropout, args.checkpointing)
        rounds = steps // (course.rows * args.segment)
        super().__init__(self.network, args, seed, rounds, Patience(args.patience, steps), start)
        self.acting = OneTick(self.network)
        self.fights = Fights(args.fights_kept, course.rows, longest, inputs, course.choices)
        self.streams = [Streams(args.streams, self._empty_memory(args.streams)) for _ in range(args.accumulation)]
        self.teaching, self.collected = Teaching(args.temperature), Collected()
        self.memory = self._empty_memory(course.rows)  # of the fights under way
        # torch aligns its memory, numpy does not: with fixed buffers the kernels always see the same layout
        self._seen, self._ticks = torch.zeros(course.rows, inputs), torch.zeros(course.rows, 1)
        read = (args.accumulation, args.streams, args.segment)
        self._observations, self._ages = torch.zeros(*read, inputs), torch.zeros(read)
        self._targets = torch.zeros(*read, course.choices)

    def _empty_memory(self, rows: int) -> Tensor:
        return self.network.empty_memory(rows).to(self.device)

    @property
    def steps_done(self) -> int:
        return self.t * self.course.rows * self.args.segment

    def advance(self) -> None:
        """A segment of every fight, the teacher's word on it, then steps. Raises TrialError when numbers blow up."""
        rng = np.random.Generator(np.random.Philox(key=self.seed, counter=self.t << 128))
        self._gather(rng)
        if len(self.fights.readable()):
            for _ in range(self.args.updates):
                self._learn(rng)
        self.t += 1
        self.patience.note(self.steps_done, self.collected.score)

    def _gather(self, rng: np.random.Generator) -> None:
        asked: list[tuple[Ints, Ints]] = []

        def choose(observation: Floats, rows: Ints) -> Ints:
            self.fights.see(observation)
            asked.append((self.fights.place[rows], self.fights.age[rows]))
            return self._act(observation)

        def over(done: Bools, score: Floats) -> None:
            self.collected.note_fights(done, score)
            self.fights.note(np.flatnonzero(done))

        args = self.args
        mix = Mix(leaning(self.share, args.script_fraction), args.exploration_noise)
        count = max(1, round(args.label_share * self.course.rows))
        returns = play(self.course, args.segment, count, choose, over, mix, rng)
        place, age = (np.concatenate(column) for column in zip(*asked, strict=True))
        self.fights.target[place, age] = self.teaching.targets(returns)

    def _act(self, observation: Floats) -> Ints:
        self._seen.numpy()[:] = observation
        self._ticks.numpy()[:, 0] = self.fights.age
        with torch.no_grad():
            seen, ticks = self._seen.to(self.device), self._ticks.to(self.device)
            logits, self.memory, _ = self.acting(seen, self.memory, ticks)
        choices: Ints = logits.argmax(1).cpu().numpy()
        return choices

    def _learn(self, rng: np.random.Generator) -> None:
        for number, streams in enumerate(self.streams):
            segment = streams.read(self.fights, self.args.segment, rng)
            for buffer, values in zip((self._observations, self._ages, self._targets), segment, strict=True):
                buffer[number].numpy()[:] = values
        losses = [partial(self._loss, number) for number in range(self.args.accumulation)]
        self.collected.note_loss(self.follow(losses))

    def _loss(self, number: int) -> Tensor:
        """Cross-entropy against the targets of the ticks that have one; the streams' memory moves on."""
        streams, target = self.streams[number], self._targets[number].to(self.device)
        observations, ages = self._observations[number].to(self.device), self._ages[number].to(self.device)
        logits, memory = self.network(observations, ages, streams.memory)
        streams.memory = memory.detach()
        entropy = -(target * functional.log_softmax(logits, -1)).sum()
        return entropy / target.sum().clamp(min=1.0)

    def metrics(self) -> dict[str, float]:
        """Figures at the end; deterministic."""
        return {**self.collected.metrics(), "warm_start": float(self.warm)}

    def exported(self) -> Exported:
        memory = self.network.memory_shape
        return Exported(
            self.acting.eval(),
            {"observation": (self.shape.inputs,), "memory_in": memory, "ticks_in": (1,)},
            {"logits": (self.shape.choices,), "memory_out": memory, "ticks_out": (1,)},
        )

    def state(self) -> State:
        """All that the next round depends on."""
        return {
            **super().state(),
            "environment": dict(self.course.state()),
            "fights": self.fights.state(),
            "streams": [streams.state() for streams in self.streams],
            "memory": self.memory,
            "teaching": self.teaching.state(),
            "collected": self.collected.state(),
        }

    def load_state(self, saved: Mapping[str, object]) -> None:
        super().load_state(saved)
        state = cast(Mapping[str, Mapping[str, object]], saved)
        self.course.load_state(arrays(state["environment"]))
        self.fights.load_state(state["fights"])
        for streams, part in zip(self.streams, cast(list[Mapping[str, object]], state["streams"]), strict=True):
            streams.load_state(part)
        self.memory = cast(Tensor, state["memory"]).clone().to(self.device)
        self.teaching.load_state(state["teaching"])
        self.collected.load_state(state["collected"])
