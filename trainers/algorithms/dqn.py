"""Double DQN (van Hasselt et al. 2016) with prioritized replay, n-step returns and, if wanted, a dueling network.

Read top to bottom: what a training is made with, one training (`DoubleDQN`), and how any number of them, one too, take
their steps as one batch (`Batch`). Schedules are functions of the absolute step and every random number comes from
(seed, step), so a training restored from `state()` goes on bit for bit, whoever shares its batch; one torch thread is
assumed.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from supervisor.contract import Reason
from supervisor.errors import TrialError
from trainers import device
from trainers.algorithms.dqn_args import Args
from trainers.algorithms.environment import Environment, Episodes, arrays
from trainers.algorithms.patience import Patience
from trainers.algorithms.replay import Kind, Replay, ReplaySlot
from trainers.algorithms.stacked_updates import Pace, StackedAdamW
from trainers.learner import Exported, State
from trainers.networks.mlp import QModel, QNetwork, Weights
from trainers.networks.stacked import Stack, TrainedStack

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

EPSILON_WARM = 0.1
"""Exploration at the start of a training that goes on from a version's weights."""

AVERAGED_GRADIENT_STEPS = 200.0
"""Running means forget at this pace."""


@dataclass
class Means:
    """Running means over gradient steps."""

    td_error: float = 0.0
    q_value: float = 0.0
    loss: float = 0.0

    def note(self, gradient_steps: int, td_error: float, q_value: float, loss: float) -> None:
        pace = 1.0 / min(gradient_steps, AVERAGED_GRADIENT_STEPS)
        self.td_error += (td_error - self.td_error) * pace
        self.q_value += (q_value - self.q_value) * pace
        self.loss += (loss - self.loss) * pace


@dataclass(frozen=True)
class GradientStep:
    """What one brought, a row for each candidate."""

    number: int
    moves: Bools  # (candidates,)
    error: Floats  # by how much the values were off, (candidates, batch); 0 for those that did not move
    values: Floats  # of what was done, (candidates, batch)
    loss: list[float]


class DoubleDQN:
    """A learner and its fights: a batch of one, until a `Population` brings it together with others."""

    def __init__(
        self,
        args: Args,
        environment: Environment,
        steps: int,
        seed: int,
        inputs: int,
        outputs: int,
        start: Mapping[str, Weights] | None = None,
        network: Callable[[], QModel] | None = None,
    ) -> None:
        """`steps` are environment steps; `start` holds the weights `network` and `target`; `network` makes another one
        than the layers of `args`.
        """
        self.args, self.environment, self.seed, self.inputs, self.outputs = args, environment, seed, inputs, outputs
        self.last_t = max(1, steps // environment.rows)
        self.device = device.chosen()
        self.dice = device.dice(self.device, seed)  # dropout's
        torch.manual_seed(seed)
        model = (network or self._layers)()
        target = copy.deepcopy(model)
        self.warm = start is not None and model.adopt(start["network"])
        if start is not None:
            target.adopt(start["target"])
        self.means, self.episodes = Means(), Episodes(environment.rows)
        self.patience = Patience(args.patience, steps)
        self.failure: TrialError | None = None
        self.batch, self.place = Batch([self], model), 0
        self.batch.online.load(0, model.state_dict())
        self.batch.target.load(0, target.state_dict())

    def _layers(self) -> QModel:
        return QNetwork(self.inputs, self.args.widths, self.outputs, self.args.dueling, self.args.dropout)

    @property
    def t(self) -> int:
        """Steps of all fights."""
        return self.batch.t

    @property
    def gradient_steps(self) -> int:
        return self.batch.gradient_steps

    @property
    def q(self) -> QModel:
        return self.batch.online.network(self.place)

    @property
    def q_target(self) -> QModel:
        return self.batch.target.network(self.place)

    @property
    def replay(self) -> ReplaySlot:
        return self.batch.replay.slot(self.place)

    @property
    def finished(self) -> bool:
        return self.t >= self.last_t or self.patience.exhausted

    @property
    def share(self) -> float:
        """Of the training that is done."""
        return self.t / self.last_t

    @property
    def steps_done(self) -> int:
        return self.t * self.environment.rows

    def epsilon(self) -> float:
        """Linear from 1 (or the warm start's) down to the exploration noise."""
        first = EPSILON_WARM if self.warm else 1.0
        share = min(1.0, self.t / (self.args.exploration_fraction * self.last_t))
        return first + (self.args.exploration_noise - first) * share

    def beta(self) -> float:
        return self.args.priority_beta + (1.0 - self.args.priority_beta) * self.share

    def advance(self) -> None:
        """One step of every fight, then the gradient steps it pays for. Raises TrialError when numbers blow up."""
        assert len(self.batch.learners) == 1, "a Population advances those that it brought together"
        self.batch.advance()
        if self.failure is not None:
            raise self.failure

    def metrics(self) -> dict[str, float]:
        """Running means at the end; deterministic."""
        found = {f"train_{name}": float(value) for name, value in vars(self.means).items()}
        counts = {"gradient_steps": float(self.gradient_steps), "warm_start": float(self.warm)}
        return {**self.episodes.metrics(), **found, **counts}

    def final(self) -> State:
        """What a later training may start from."""
        return {"network": self.batch.online.state(self.place), "target": self.batch.target.state(self.place)}

    def state(self) -> State:
        """All that the next step depends on."""
        return {
            **self.final(),
            "optimizer": self.batch.optimizer.state(self.place),
            "patience": self.patience.state(),
            "replay": self.replay.state(),
            "environment": dict(self.environment.state()),
            **({"torch_rng": self.dice.get_state()} if self.args.dropout else {}),
            "counters": {"seed": self.seed, "t": self.t, "gradient_steps": self.gradient_steps, "warm": self.warm},
            "means": {**vars(self.means), "episodes": self.episodes.state()},
        }

    def exported(self) -> Exported:
        return self.q.exported()

    def load_state(self, saved: Mapping[str, object]) -> None:
        """Go on from `state()`, as `weights.unpack` gives it back: with tensors for arrays."""
        assert len(self.batch.learners) == 1, "a learner is restored before a Population brings it together with others"
        state = cast(Mapping[str, Mapping[str, Any]], saved)
        self.batch.online.load(0, state["network"])
        self.batch.target.load(0, state["target"])
        self.batch.optimizer.load_state(0, state["optimizer"])
        self.patience.load_state(state["patience"])
        self.replay.load_state(arrays(state["replay"]))
        self.environment.load_state(arrays(state["environment"]))
        if self.args.dropout:
            self.dice.set_state(cast(Tensor, saved["torch_rng"]))
        counters = state["counters"]
        self.seed, self.warm = counters["seed"], bool(counters["warm"])
        self.batch.t, self.batch.gradient_steps = counters["t"], counters["gradient_steps"]
        self.batch.look()
        means = dict(state["means"])
        self.episodes.load_state(means.pop("episodes"))
        self.means = Means(**means)


class Batch:
    """Candidates of one shape and at the same step, which go on together: the algorithm.

    Everything has a first dimension for the candidates, and nothing goes from one of them to another.
    """

    def __init__(self, learners: Sequence[DoubleDQN], model: QModel) -> None:
        """`model` lends its shape. The candidates' networks, optimizer and replay are blank."""
        args, inputs = [learner.args for learner in learners], learners[0].inputs
        count, self._fights = len(learners), learners[0].environment.rows
        self.device = learners[0].device
        self.learners, self.args = list(learners), args[0]  # what they have in common
        self.t = self.gradient_steps = 0
        self.online, self.target = TrainedStack(model, count, self.device), Stack(model, count, self.device)
        self.optimizer = StackedAdamW(
            self.online.values,
            self.online.gradients,
            [Pace(own.learning_rate, own.learning_rate_end, own.weight_decay, own.gradient_clip) for own in args],
        )
        kinds = [Kind(own.n_step, own.gamma, own.priority_alpha) for own in args]
        self.replay = Replay(kinds, self.args.replay_rows, self._fights, inputs)
        low = self.args.amp and self.device.type == device.CUDA
        self._precision = torch.autocast(self.device.type, torch.bfloat16) if low else contextlib.nullcontext()
        self._double = torch.tensor([own.double for own in args]).to(self.device)[:, None, None]
        self._uniforms = np.zeros((count, 2 * self._fights + self.args.updates * self.args.batch_size))
        # torch aligns its memory, numpy does not: with fixed buffers the kernels always see the same layout
        self._seen = torch.zeros(count, self._fights, inputs)
        self._s = torch.zeros(count, self.args.updates * self.args.batch_size, inputs)
        self._s_next = torch.zeros_like(self._s)
        self.look()

    @classmethod
    def of(cls, learners: Sequence[DoubleDQN]) -> Batch:
        """Bring learners at the same step together, whatever batches they are in; those lose them."""
        made = cls(learners, learners[0].batch.online.model)
        made.t, made.gradient_steps = learners[0].t, learners[0].gradient_steps
        for place, learner in enumerate(learners):
            made.online.load(place, learner.batch.online.state(learner.place))
            made.target.load(place, learner.batch.target.state(learner.place))
            made.optimizer.load_state(place, learner.batch.optimizer.state(learner.place))
            made.replay.load_state(place, learner.replay.state())
            learner.batch, learner.place = made, place
        return made

    def look(self) -> None:
        """See what the candidates' fights look like now."""
        for seen, learner in zip(self._seen.numpy(), self.learners, strict=True):
            seen[:] = learner.environment.observation

    def advance(self) -> None:
        """One step of every fight, then the gradient steps it pays for. A candidate whose numbers blow up has its
        `failure` set and keeps its last good weights.
        """
        for uniforms, learner in zip(self._uniforms, self.learners, strict=True):
            np.random.Generator(np.random.Philox(key=learner.seed, counter=self.t << 128)).random(out=uniforms)
        self._play()
        self.t += 1
        if self.t >= self.args.learns_from:
            with np.errstate(over="ignore", invalid="ignore"):  # numbers that blow up are told by `failure`
                self._learn(self._uniforms[:, 2 * self._fights :])
        for learner in self.learners:
            learner.patience.note(learner.steps_done, learner.episodes.score)

    def _play(self) -> None:
        epsilon = np.array([[learner.epsilon()] for learner in self.learners])
        explores, anything = self._uniforms[:, : self._fights], self._uniforms[:, self._fights : 2 * self._fights]
        greedy = self.online(self._seen.to(self.device)).argmax(2).cpu().numpy()
        anything = (anything * self.learners[0].outputs).astype(np.int64)
        actions: Ints = np.where(explores < epsilon, anything, greedy)
        outcomes = [learner.environment.step(own) for learner, own in zip(self.learners, actions, strict=True)]
        reward = np.stack([outcome.reward for outcome in outcomes])
        self.replay.add(self._seen.numpy(), actions, reward, np.stack([outcome.done for outcome in outcomes]))
        for k, (learner, outcome) in enumerate(zip(self.learners, outcomes, strict=True)):
            learner.episodes.note(outcome)
            self._seen[k].numpy()[:] = outcome.observation
            if outcome.cut is not None:
                self.replay.cut(k, outcome.cut)

    def _learn(self, uniforms: Doubles) -> None:
        """The gradient steps of one step of all fights: what they learn from is drawn and valued before the first, and
        priorities follow after the last, so that what numpy and torch charge per call is paid once.
        """
        beta = np.array([[learner.beta()] for learner in self.learners])
        drawn = self.replay.draw(uniforms, beta, self.args.updates)
        followed = self.replay.returns(drawn.index)
        s = _gather(self.replay.states, drawn.index, self._s).to(self.device)
        s_next = _gather(self.replay.states, followed.next_index, self._s_next).to(self.device)
        a = torch.from_numpy(self.replay.actions[drawn.index])[..., None].to(self.device)
        q_next = self.target(s_next)
        told = []
        for begin in range(0, a.shape[1], self.args.batch_size):
            part = slice(begin, begin + self.args.batch_size)
            best = self._best(s_next[:, part], q_next[:, part])
            y = followed.reward[:, part] + followed.discount[:, part] * best
            told.append(self._improve(s[:, part], a[:, part], y, drawn.weight[:, part]))
        self.replay.update(drawn.index, np.concatenate([step.error for step in told], 1))
        for step in told:
            self._note(step)

    def _best(self, s_next: Tensor, q_next: Tensor) -> Floats:
        """What the next action is worth."""
        if not self._double.any():
            return q_next.amax(2).cpu().numpy()
        online = self.online(s_next)
        chooser = online if self._double.all() else torch.where(self._double, online, q_next)
        return q_next.gather(2, chooser.argmax(2, keepdim=True))[..., 0].cpu().numpy()

    def _improve(self, s: Tensor, a: Tensor, y: Floats, w: Floats) -> GradientStep:
        values, loss = self._follow(s, a, y, w / np.float32(y.shape[1]))
        self.gradient_steps += 1
        moves = self._move(loss)
        error: Floats = np.abs(values - y)
        error[~moves] = 0.0
        for k, learner in enumerate(self.learners):
            if moves[k] and self.gradient_steps % learner.args.target_interval == 0:
                self.target.values[k] = self.online.values[k]
        return GradientStep(self.gradient_steps, moves, error, values, loss)

    def _note(self, step: GradientStep) -> None:
        errors, values = step.error.mean(1).tolist(), step.values.mean(1).tolist()
        for k in np.flatnonzero(step.moves).tolist():
            self.learners[k].means.note(step.number, errors[k], values[k], step.loss[k])

    def _follow(self, s: Tensor, a: Tensor, y: Floats, w: Floats) -> tuple[Floats, list[float]]:
        """Leave the gradient of each candidate's mean loss, Huber's; the values of what was done, and the losses."""
        size, loss = y.shape[1] // self.args.accumulation, np.zeros(len(y), np.float32)
        dice = [learner.dice for learner in self.learners] if self.args.dropout else None
        values = np.empty_like(y)
        for begin in range(0, y.shape[1], size):
            part = slice(begin, begin + size)
            with self._precision:
                q, back = self.online.followed(s[:, part], dice)
                values[:, part] = q.gather(2, a[:, part])[..., 0].float().cpu().numpy()
                off = values[:, part] - y[:, part]
                slope = off.clip(-1, 1)
                weighted = w[:, part] * slope
                gradient = torch.zeros_like(q)
                gradient.scatter_(2, a[:, part], torch.from_numpy(weighted).to(self.device, q.dtype)[..., None])
                self.online.add_gradients(back, gradient, first=begin == 0)
            loss += (weighted * (off - slope / 2)).sum(1)
        return values, loss.tolist()

    def _move(self, loss: list[float]) -> NDArray[np.bool_]:
        """One step along the gradients; who took it."""
        norms = self.optimizer.norms()
        for learner, own, norm in zip(self.learners, loss, norms.tolist(), strict=True):
            if learner.failure is None and not (math.isfinite(own) and math.isfinite(norm)):
                told = f"loss {own}, norm of the gradient {norm} at gradient step {self.gradient_steps}"
                learner.failure = TrialError(Reason.DIVERGED, told)
        moves = np.array([learner.failure is None for learner in self.learners])
        self.optimizer.step(norms, moves, [learner.share for learner in self.learners])
        return moves


def _gather(rows: Floats, index: Ints, out: Tensor) -> Tensor:
    np.take(rows, index, axis=0, out=out.numpy(), mode="clip")  # "raise" would gather into a copy first
    return out
