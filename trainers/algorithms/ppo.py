"""Proximal policy optimization (Schulman et al. 2017) with a clipped objective and generalized advantages.

Read top to bottom. Rollouts of `horizon` steps of all episodes alternate with `epochs` passes over them in minibatches.
Schedules are functions of the absolute step and every random number comes from (seed, step, epoch), so a training
restored from `state()` goes on bit for bit, also in the midst of a rollout or between two minibatches; one torch thread
is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from supervisor.contract import Reason
from supervisor.errors import TrialError
from trainers.algorithms.environment import Environment, Episodes, Floats, arrays
from trainers.algorithms.patience import Patience
from trainers.algorithms.updates import UpdateArgs, Updater
from trainers.device import chosen, copied
from trainers.learner import Exported, State
from trainers.networks.actor_critic import ActorCritic
from trainers.networks.layers import Weights, adopt, widths

AVERAGED_MINIBATCHES = 200.0
"""The running means over gradient steps forget at this pace."""

ADVANTAGE_FLOOR = 1e-8


@dataclass(frozen=True)
class Args:
    """One field per parameter of the search space."""

    learning_rate: float  # of AdamW at the start
    learning_rate_end: float  # share of it left at the last step
    weight_decay: float
    gradient_clip: float  # largest norm of a gradient
    gae_lambda: float  # between one-step (0) and whole-episode (1) advantages
    clip: float  # epsilon: how far the new policy's probabilities may move from those that acted
    value_coefficient: float  # c1: weight of the critic's squared error
    entropy_coefficient: float  # c2: weight of the policy's entropy
    horizon: int  # steps of all episodes in a rollout
    epochs: int  # passes over a rollout
    batch_size: int  # of a minibatch
    accumulation: int  # micro-batches that a minibatch is worked off in
    patience: int  # looks (50 over the budget) without a better mean return before training ends; 0 never
    hidden: str  # widths of the shared layers, "128,128"
    head: str  # widths of the layers that actor and critic have each for itself
    gamma: float = 0.99  # discount per step

    def __post_init__(self) -> None:
        """Raises TrialError that names every value no training can start with."""
        wrong = [f"{name} must be at least 1" for name in _COUNTS if getattr(self, name) < 1]
        for name in ("hidden", "head"):
            try:
                widths(getattr(self, name))
            except ValueError as error:
                wrong.append(f"{name} {error}")
        if self.clip <= 0:
            wrong.append("clip must be above 0")
        if wrong:
            raise TrialError(Reason.OUT_OF_RANGE, "; ".join(wrong))


_COUNTS = ("horizon", "epochs", "batch_size", "accumulation")


@dataclass
class Means:
    """Running means over minibatches; `explained_variance` is the last rollout's."""

    loss: float = 0.0
    value_loss: float = 0.0
    entropy: float = 0.0  # nats
    kl: float = 0.0  # of the acting from the new policy
    clipped: float = 0.0  # share of the probabilities that moved further than the clip
    explained_variance: float = 0.0


class Rollout:
    """`horizon` steps of `rows` episodes, in fixed buffers; row t * rows + r is step t of episode r."""

    def __init__(self, horizon: int, rows: int, inputs: int) -> None:
        self.s = torch.zeros(horizon, rows, inputs)
        self.a = torch.zeros(horizon, rows, dtype=torch.int64)
        self.log_p = torch.zeros(horizon, rows)  # of the action taken, when it was taken
        self.r = torch.zeros(horizon, rows)
        self.alive = torch.zeros(horizon, rows)  # 0 where the step ended the episode
        self.V = torch.zeros(horizon + 1, rows)
        self.A = torch.zeros(horizon, rows)
        self.R = torch.zeros(horizon, rows)  # what the critic is to learn

    def weigh(self, length: int, gamma: float, gae_lambda: float) -> None:
        """Advantages and returns of the first `length` steps.

        A_t = delta_t + gamma lambda A_t+1 with delta_t = r_t + gamma V(s_t+1) - V(s_t), each within its own episode.
        """
        V, A = self.V.numpy(), self.A.numpy()
        discounted = np.float32(gamma) * self.alive.numpy()
        following: Floats = np.zeros_like(V[0])
        for t in range(length - 1, -1, -1):
            delta = self.r.numpy()[t] + discounted[t] * V[t + 1] - V[t]
            following = delta + np.float32(gae_lambda) * discounted[t] * following
            A[t] = following
        np.add(A[:length], V[:length], out=self.R.numpy()[:length])

    def explained_variance(self, length: int) -> float:
        """How much of the returns' variance the critic foresaw: 1 is all of it, 0 none; may be negative."""
        R, V = self.R.numpy()[:length], self.V.numpy()[:length]
        spread = float(np.var(R, dtype=np.float64))
        return 1.0 - float(np.var(R - V, dtype=np.float64)) / spread if spread > 0 else 0.0

    def state(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in vars(self).items()}

    def load_state(self, saved: Mapping[str, Tensor]) -> None:
        for name, tensor in vars(self).items():
            tensor.copy_(saved[name])


class Ppo:
    """A Learner. `steps` are environment steps; choices are integers from 0 to `outputs` - 1."""

    def __init__(
        self,
        args: Args,
        environment: Environment,
        steps: int,
        seed: int,
        inputs: int,
        outputs: int,
        start: Mapping[str, Weights] | None = None,
        output_name: str = "logits",
    ) -> None:
        self.args, self.environment, self.seed = args, environment, seed
        self.inputs, self.outputs, self._output_name = inputs, outputs, output_name
        rows = environment.rows
        torch.manual_seed(seed)
        self.last_t = max(1, steps // rows)
        self.horizon = min(args.horizon, self.last_t)
        self.network = ActorCritic(inputs, widths(args.hidden), widths(args.head), outputs)
        self.warm = start is not None and adopt(self.network, start["network"])
        self.device = chosen()
        self.network.to(self.device)
        self.updater = Updater(
            self.network.parameters(),
            UpdateArgs(args.learning_rate, args.learning_rate_end, args.weight_decay, args.gradient_clip),
        )
        self.t = 0  # steps of all episodes
        self.filled = 0  # of them, in the rollout
        self.minibatch = 0  # how many of the rollout's minibatches are done
        self.rollout = Rollout(self.horizon, rows, inputs)
        self.episodes = Episodes(rows)
        self.patience = Patience(args.patience, self.last_t)
        self.means = Means()
        self._order: Tensor | None = None  # of the rollout's transitions in the epoch under way
        self._observation = environment.observation
        # torch aligns its memory, numpy does not: with fixed buffers the kernels always see the same layout
        self._seen = torch.zeros(rows, inputs)

    @property
    def finished(self) -> bool:
        return self.filled == 0 and (self.t >= self.last_t or self.patience.exhausted)

    @property
    def steps_done(self) -> int:
        return self.t * self.environment.rows

    def advance(self) -> None:
        """A step of every episode, or, once the rollout is full, a minibatch. Raises TrialError when it diverges."""
        if self.filled < self.horizon and self.t < self.last_t:
            self._act()
        else:
            self._learn()

    def _act(self) -> None:
        rng = np.random.Generator(np.random.Philox(key=self.seed, counter=self.t << 128))
        rollout, t = self.rollout, self.filled
        log_p, V = self._look(self._observation)
        a = _drawn(log_p, torch.from_numpy(rng.random(len(V), np.float32)))
        outcome = self.environment.step(a.numpy())
        rollout.s[t] = self._seen
        rollout.a[t] = a
        rollout.log_p[t] = log_p.gather(1, a[:, None])[:, 0]
        rollout.V[t] = V
        rollout.r.numpy()[t] = outcome.reward
        np.logical_not(outcome.done, out=rollout.alive.numpy()[t], casting="unsafe")
        if outcome.cut is not None:  # what the state is worth in which the episode was cut stands for what was to come
            with torch.no_grad():
                last = self.network(copied(outcome.cut.observation, self.device))[1][:, 0].cpu().numpy()
            rollout.r.numpy()[t, outcome.cut.rows] += np.float32(self.args.gamma) * last
        self._observation = outcome.observation
        self.episodes.note(outcome)
        self.t += 1
        self.filled += 1

    def _look(self, observation: Floats) -> tuple[Tensor, Tensor]:
        """Log probabilities [rows, choices] and values [rows]."""
        self._seen.numpy()[:] = observation
        with torch.no_grad():
            logits, V = self.network(self._seen.to(self.device))
            return torch.log_softmax(logits, 1).cpu(), V[:, 0].cpu()

    def _learn(self) -> None:
        size = self.filled * self.environment.rows
        batch = min(self.args.batch_size, size)
        epoch, place = divmod(self.minibatch, size // batch)
        if self.minibatch == 0:
            self._weigh()
        if place == 0 or self._order is None:
            rng = np.random.Generator(np.random.Philox(key=self.seed, counter=(self.t << 128) + (epoch + 1 << 192)))
            self._order = torch.from_numpy(rng.permutation(size))
        self._improve(self._order[place * batch : (place + 1) * batch])
        self.minibatch += 1
        if self.minibatch == self.args.epochs * (size // batch):
            self.filled = self.minibatch = 0
            if self.episodes.count:
                self.patience.note(self.t, self.episodes.reward)

    def _weigh(self) -> None:
        self.rollout.V[self.filled] = self._look(self._observation)[1]
        self.rollout.weigh(self.filled, self.args.gamma, self.args.gae_lambda)
        self.means.explained_variance = self.rollout.explained_variance(self.filled)

    def _improve(self, index: Tensor) -> None:
        """One gradient step on the transitions `index`."""
        A = self.rollout.A.view(-1).index_select(0, index)
        spread, mean = torch.std_mean(A)
        A = (A - mean) / (spread + ADVANTAGE_FLOOR) if len(A) > 1 else A - mean
        notes: list[tuple[float, ...]] = []
        parts = zip(index.chunk(self.args.accumulation), A.chunk(self.args.accumulation), strict=True)
        losses = [partial(self._loss, rows, weight, notes) for rows, weight in parts]
        loss = self.updater.step(losses, self.t / self.last_t)
        pace = 1.0 / min(self.updater.steps, AVERAGED_MINIBATCHES)
        names = ("value_loss", "entropy", "kl", "clipped")
        for name, value in zip(("loss", *names), (loss, *np.mean(notes, axis=0).tolist()), strict=True):
            mean_so_far = getattr(self.means, name)
            setattr(self.means, name, mean_so_far + (value - mean_so_far) * pace)

    def _loss(self, index: Tensor, A: Tensor, notes: list[tuple[float, ...]]) -> Tensor:
        """-L^CLIP + c1 L^VF - c2 S."""
        args, rollout, A = self.args, self.rollout, A.to(self.device)
        logits, V = self.network(self._of(rollout.s.view(-1, self.inputs), index))
        a = self._of(rollout.a.view(-1), index)
        log_p = torch.log_softmax(logits, 1)
        entropy = -(log_p.exp() * log_p).sum(1).mean()
        log_ratio = log_p.gather(1, a[:, None])[:, 0] - self._of(rollout.log_p.view(-1), index)
        ratio = log_ratio.exp()
        surrogate = torch.minimum(ratio * A, ratio.clamp(1 - args.clip, 1 + args.clip) * A).mean()
        value_loss = 0.5 * (V[:, 0] - self._of(rollout.R.view(-1), index)).square().mean()
        with torch.no_grad():
            kl = (ratio - 1 - log_ratio).mean()
            clipped = ((ratio - 1).abs() > args.clip).float().mean()
            notes.append(tuple(torch.stack([value_loss, entropy, kl, clipped]).tolist()))
        loss: Tensor = args.value_coefficient * value_loss - surrogate - args.entropy_coefficient * entropy
        return loss

    def _of(self, rows: Tensor, index: Tensor) -> Tensor:
        return rows.index_select(0, index).to(self.device)

    def metrics(self) -> dict[str, float]:
        """Running means at the end; deterministic."""
        found = {f"train_{name}": float(value) for name, value in vars(self.means).items()}
        counts = {"gradient_steps": float(self.updater.steps), "warm_start": float(self.warm)}
        return {**self.episodes.metrics(), **found, **counts}

    def exported(self) -> Exported:
        return Exported(
            self.network.eval(), {"state": (self.inputs,)}, {self._output_name: (self.outputs,), "value": (1,)}
        )

    def final(self) -> State:
        """What a later training may start from."""
        return {"network": self.network.state_dict()}

    def state(self) -> State:
        """All that the next step depends on."""
        counts = {"seed": self.seed, "t": self.t, "filled": self.filled, "minibatch": self.minibatch}
        return {
            **self.final(),
            "updater": self.updater.state(),
            "rollout": self.rollout.state(),
            "environment": dict(self.environment.state()),
            "episodes": self.episodes.state(),
            "patience": self.patience.state(),
            "means": dict(vars(self.means)),
            "counters": {**counts, "warm": self.warm},
        }

    def load_state(self, saved: Mapping[str, object]) -> None:
        """Go on from `state()`, as `weights.unpack` gives it back."""
        state = cast(Mapping[str, Mapping[str, Any]], saved)
        self.network.load_state_dict(state["network"])
        self.updater.load_state(state["updater"])
        self.rollout.load_state(state["rollout"])
        self._order = None
        self.environment.load_state(arrays(state["environment"]))
        self._observation = self.environment.observation
        self.episodes.load_state(state["episodes"])
        self.patience.load_state(state["patience"])
        self.means = Means(**state["means"])
        counters = state["counters"]
        self.seed, self.t, self.filled = counters["seed"], counters["t"], counters["filled"]
        self.minibatch, self.warm = counters["minibatch"], counters["warm"]


def _drawn(log_p: Tensor, u: Tensor) -> Tensor:
    """A choice for each row, drawn by its probabilities: the first whose cumulated probability is above `u`."""
    a: Tensor = (log_p.exp().cumsum(1) <= u[:, None]).sum(1)
    return a.clamp_(max=log_p.shape[1] - 1)
