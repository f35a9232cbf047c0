"""Double DQN (van Hasselt et al. 2016) with prioritized replay, n-step returns and, if wanted, a dueling network.

Read top to bottom. Schedules are functions of the absolute step and every random number comes from (seed, step), so a
training restored from `state()` goes on bit for bit; one torch thread is assumed.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
from trainers.algorithms.replay import Replay
from trainers.algorithms.updates import UpdateArgs, Updater
from trainers.learner import Exported
from trainers.networks.mlp import QModel, QNetwork, Weights

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
State = dict[str, object]

EPSILON_WARM = 0.1
"""Exploration at the start of a training that goes on from a version's weights."""

AVERAGED_FIGHTS = 2000.0
AVERAGED_GRADIENT_STEPS = 200.0
"""Running means forget at these paces."""


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
    target_interval: int  # gradient steps between copies into the target network
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
    def widths(self) -> tuple[int, ...]:
        return tuple(int(width) for width in self.hidden.split(","))


_COUNTS = ("n_step", "batch_size", "accumulation", "updates", "target_interval")

_ELSEWHERE = {
    "learning_rate": "training.learning_rate",
    "exploration_noise": "training.exploration_noise",
}
"""Fields that an archetype has its own default for."""

NAMES: Mapping[str, str] = {name: _ELSEWHERE.get(name, f"dqn.{name}") for name in Args.__dataclass_fields__}
"""Each field's parameter in the search space."""


class Step(Protocol):
    """What one step of all fights brought."""

    @property
    def observation(self) -> Floats:
        """(rows, inputs); of the next fight where one ended."""

    @property
    def reward(self) -> Floats:
        """(rows,)"""

    @property
    def done(self) -> NDArray[np.bool_]:
        """(rows,)"""

    @property
    def score(self) -> Floats:
        """(rows,): win 1, draw 1/2, loss 0; means something where `done`."""


class Environment(Protocol):
    """Fights side by side; one that ends is followed by the next at once, in the same row."""

    @property
    def rows(self) -> int: ...
    @property
    def observation(self) -> Floats:
        """What each learner sees now, (rows, inputs)."""

    def step(self, actions: Ints) -> Step: ...
    def state(self) -> Mapping[str, NDArray[np.generic]]: ...
    def load_state(self, saved: Mapping[str, NDArray[np.generic]]) -> None: ...


@dataclass
class Means:
    """Running means over finished fights and over gradient steps."""

    fights: int = 0
    score: float = 0.0
    reward: float = 0.0
    length: float = 0.0
    td_error: float = 0.0
    q_value: float = 0.0
    loss: float = 0.0


@dataclass
class DoubleDQN:
    """A learner and its fights. `steps` are environment steps; `start` holds the weights `network` and `target`."""

    args: Args
    environment: Environment
    steps: int
    seed: int
    inputs: int
    outputs: int
    start: Mapping[str, Weights] | None = None
    network: Callable[[], QModel] | None = None  # makes another one than the layers of `args`
    means: Means = field(default_factory=Means)
    t: int = 0  # steps of all fights
    gradient_steps: int = 0

    def __post_init__(self) -> None:
        args, fights = self.args, self.environment.rows
        torch.manual_seed(self.seed)
        self.last_t = max(1, self.steps // fights)
        self.q = (self.network or self._layers)().eval()
        self.q_target = copy.deepcopy(self.q).requires_grad_(False)
        self.warm = False
        if self.start is not None:
            self.warm = self.q.adopt(self.start["network"])
            self.q_target.adopt(self.start["target"])
        self.updater = Updater(
            self.q.parameters(),
            UpdateArgs(args.learning_rate, args.learning_rate_end, args.weight_decay, args.gradient_clip, args.amp),
        )
        self.patience = Patience(args.patience, self.steps)
        self.replay = Replay(args.replay_rows, fights, self.inputs, args.n_step, args.priority_alpha)
        self._return = np.zeros(fights, np.float64)  # of the fights under way
        self._length = np.zeros(fights, np.int64)
        self._observation = self.environment.observation
        # torch aligns its memory, numpy does not: with fixed buffers the kernels always see the same layout
        self._seen = torch.zeros(fights, self.inputs)
        self._s = torch.zeros(args.batch_size, self.inputs)
        self._s_next = torch.zeros(args.batch_size, self.inputs)

    def _layers(self) -> QModel:
        return QNetwork(self.inputs, self.args.widths, self.outputs, self.args.dueling, self.args.dropout)

    @property
    def finished(self) -> bool:
        return self.t >= self.last_t or self.patience.exhausted

    @property
    def steps_done(self) -> int:
        return self.t * self.environment.rows

    def epsilon(self) -> float:
        """Linear from 1 (or the warm start's) down to the exploration noise."""
        first = EPSILON_WARM if self.warm else 1.0
        share = min(1.0, self.t / (self.args.exploration_fraction * self.last_t))
        return first + (self.args.exploration_noise - first) * share

    def advance(self) -> None:
        """One step of every fight, then the gradient steps it pays for. Raises TrialError when numbers blow up."""
        rng = np.random.Generator(np.random.Philox(key=self.seed, counter=self.t << 128))
        action = self._epsilon_greedy(self._observation, rng)
        outcome = self.environment.step(action)
        self.replay.add(self._observation, action, outcome.reward, outcome.done)
        self._observation = outcome.observation
        self._note(outcome)
        self.t += 1
        if self.t >= self.args.learning_starts and self.replay.size:
            share = self.t / self.last_t
            beta = self.args.priority_beta + (1.0 - self.args.priority_beta) * share
            for _ in range(self.args.updates):
                self._learn(rng.random(self.args.batch_size), beta, share)
        self.patience.note(self.steps_done, self.means.score)

    def _epsilon_greedy(self, state: Floats, rng: np.random.Generator) -> Ints:
        self._seen.numpy()[:] = state
        with torch.no_grad():
            greedy: Ints = self.q(self._seen).argmax(1).numpy()
        explores = rng.random(len(greedy)) < self.epsilon()
        return np.where(explores, rng.integers(0, self.outputs, len(greedy)), greedy)

    def _learn(self, uniforms: Doubles, beta: float, share: float) -> None:
        drawn = self.replay.draw(uniforms, beta)
        followed = self.replay.returns(drawn.index, self.args.gamma)
        s = _gather(self.replay.states, drawn.index, self._s)
        s_next = _gather(self.replay.states, followed.next_index, self._s_next)
        a = torch.from_numpy(self.replay.actions[drawn.index])[:, None]
        R, discount, w = map(torch.from_numpy, (followed.reward, followed.discount, drawn.weight))
        with torch.no_grad():
            q_next = self.q_target(s_next)
            chooser = self.q(s_next) if self.args.double else q_next
            y = R + discount * q_next.gather(1, chooser.argmax(1, keepdim=True))[:, 0]
        values = torch.empty_like(y)

        def loss_of(part: slice) -> Tensor:
            q = self.q(s[part]).gather(1, a[part])[:, 0]
            values[part] = q.detach()
            return (w[part] * functional.smooth_l1_loss(q, y[part], reduction="none")).mean()

        size = len(y) // self.args.accumulation
        parts = [slice(k * size, (k + 1) * size) for k in range(self.args.accumulation)]
        self.q.train()
        loss = self.updater.step([partial(loss_of, part) for part in parts], share)
        self.q.eval()
        self.gradient_steps += 1
        if self.gradient_steps % self.args.target_interval == 0:
            self.q_target.load_state_dict(self.q.state_dict())
        error: Floats = (values - y).abs().numpy()
        self._note_gradient_step(error, float(values.mean()), loss)
        self.replay.update(drawn.index, error)

    def _note_gradient_step(self, error: Floats, q_value: float, loss: float) -> None:
        td_error = float(error.mean())
        pace = 1.0 / min(self.gradient_steps, AVERAGED_GRADIENT_STEPS)
        self.means.td_error += (td_error - self.means.td_error) * pace
        self.means.q_value += (q_value - self.means.q_value) * pace
        self.means.loss += (loss - self.means.loss) * pace

    def _note(self, outcome: Step) -> None:
        self._return += outcome.reward
        self._length += 1
        ended = np.flatnonzero(outcome.done)
        if len(ended) == 0:
            return
        means = self.means
        means.fights += len(ended)
        pace = min(1.0, len(ended) / min(means.fights, AVERAGED_FIGHTS))
        means.score += (float(outcome.score[ended].mean(dtype=np.float64)) - means.score) * pace
        means.reward += (float(self._return[ended].mean()) - means.reward) * pace
        means.length += (float(self._length[ended].mean()) - means.length) * pace
        self._return[ended] = 0.0
        self._length[ended] = 0

    def metrics(self) -> dict[str, float]:
        """Running means at the end; deterministic."""
        names = ("score", "reward", "length", "td_error", "q_value", "loss")
        found = {f"train_{name}": float(getattr(self.means, name)) for name in names}
        return {**found, "gradient_steps": float(self.gradient_steps), "warm_start": float(self.warm)}

    def final(self) -> State:
        """What a later training may start from."""
        return {"network": self.q.state_dict(), "target": self.q_target.state_dict()}

    def state(self) -> State:
        """All that the next step depends on."""
        return {
            **self.final(),
            "updater": self.updater.state(),
            "patience": self.patience.state(),
            "replay": self.replay.state(),
            "environment": dict(self.environment.state()),
            "torch_rng": torch.get_rng_state(),  # dropout's
            "counters": {"seed": self.seed, "t": self.t, "gradient_steps": self.gradient_steps, "warm": self.warm},
            "means": dict(vars(self.means)),
            "fights": {"return": self._return, "length": self._length},
        }

    def exported(self) -> Exported:
        return self.q.exported()

    def load_state(self, saved: Mapping[str, object]) -> None:
        """Go on from `state()`, as `weights.unpack` gives it back: with tensors for arrays."""
        state = cast(Mapping[str, Mapping[str, object]], saved)
        self.q.load_state_dict(state["network"])
        self.q_target.load_state_dict(state["target"])
        self.updater.load_state(state["updater"])
        self.patience.load_state(state["patience"])
        self.replay.load_state(_arrays(state["replay"]))
        self.environment.load_state(_arrays(state["environment"]))
        self._observation = self.environment.observation
        torch.set_rng_state(cast(Tensor, state["torch_rng"]))
        counters = cast(Mapping[str, int], state["counters"])
        self.seed, self.t, self.gradient_steps = counters["seed"], counters["t"], counters["gradient_steps"]
        self.warm = bool(counters["warm"])
        self.means = Means(**cast(Mapping[str, float], state["means"]))  # type: ignore[arg-type]
        fights = _arrays(state["fights"])
        self._return[:] = fights["return"]
        self._length[:] = fights["length"]


def _gather(rows: Floats, index: Ints, out: Tensor) -> Tensor:
    np.take(rows, index, axis=0, out=out.numpy(), mode="clip")  # "raise" would gather into a copy first
    return out


def _arrays(state: Mapping[str, object]) -> dict[str, NDArray[np.generic]]:
    return {name: value.numpy() if isinstance(value, Tensor) else np.asarray(value) for name, value in state.items()}
