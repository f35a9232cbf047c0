"""Soft actor-critic (Haarnoja et al. 2018) with twin critics and an automatic temperature.

Read top to bottom. Schedules are functions of the absolute step and every random number comes from (seed, step), so a
training restored from `state()` goes on bit for bit; one torch thread is assumed.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from supervisor.contract import Reason
from supervisor.errors import TrialError
from trainers.algorithms.environment import Environment, Episodes, arrays
from trainers.algorithms.memory import Batch, Memory
from trainers.algorithms.patience import Patience
from trainers.algorithms.updates import UpdateArgs, Updater
from trainers.device import chosen
from trainers.learner import Exported, State
from trainers.networks.gaussian import GaussianActor, TwinCritics
from trainers.networks.layers import Weights, adopt, widths

AVERAGED_GRADIENT_STEPS = 200.0
"""The running means over gradient steps forget at this pace."""


@dataclass(frozen=True)
class Args:
    """One field per parameter of the search space."""

    learning_rate: float  # of AdamW at the start, for actor, critics and temperature
    learning_rate_end: float  # share of it left at the last step
    weight_decay: float
    gradient_clip: float  # largest norm of a gradient
    gamma: float  # discount per step
    tau: float  # how far the target critics follow in a gradient step
    temperature: float  # alpha at the start: what a nat of entropy is worth
    target_entropy: float  # per number of the action, in nats; the temperature is steered toward it
    reward_scale: float  # the larger, the less entropy is worth
    batch_size: int
    accumulation: int  # micro-batches that a batch is worked off in
    updates: int  # gradient steps per step of all episodes
    replay_rows: int  # steps of all episodes that are remembered
    learning_starts: int  # steps of all episodes, at random, before the first gradient step
    patience: int  # looks (50 over the budget) without a better mean return before training ends; 0 never
    hidden: str  # widths of the hidden layers of actor and critics, "128,128"
    learning_rate_factor: float = 1.0  # factor of the learning rate, for small networks: they bear larger steps

    def __post_init__(self) -> None:
        """Raises TrialError that names every value no training can start with."""
        wrong = [f"{name} must be at least 1" for name in _COUNTS if getattr(self, name) < 1]
        wrong += [f"{name} must be above 0" for name in _POSITIVE if getattr(self, name) <= 0]
        try:
            widths(self.hidden)
        except ValueError as error:
            wrong.append(f"hidden {error}")
        if wrong:
            raise TrialError(Reason.OUT_OF_RANGE, "; ".join(wrong))


_COUNTS = ("batch_size", "accumulation", "updates", "replay_rows", "learning_starts")
_POSITIVE = ("temperature", "tau", "reward_scale", "learning_rate_factor")


@dataclass
class Means:
    """Running means over gradient steps."""

    critic_loss: float = 0.0
    actor_loss: float = 0.0
    q_value: float = 0.0
    entropy: float = 0.0  # nats


@dataclass
class Temperature:
    """log alpha and its Adam: one number is not worth an optimizer of tensors."""

    log_alpha: float
    m: float = 0.0
    v: float = 0.0
    steps: int = 0

    @property
    def alpha(self) -> float:
        return math.exp(self.log_alpha)

    def follow(self, surplus: float, learning_rate: float) -> None:
        """A step that lowers alpha where the policy's entropy has a surplus over its target, raises it otherwise."""
        self.steps += 1
        self.m = 0.9 * self.m + 0.1 * surplus
        self.v = 0.999 * self.v + 0.001 * surplus * surplus
        unbiased = self.m / (1 - 0.9**self.steps), self.v / (1 - 0.999**self.steps)
        self.log_alpha -= learning_rate * unbiased[0] / (math.sqrt(unbiased[1]) + 1e-8)


class Sac:
    """A Learner. `steps` are environment steps; actions are float32 [rows, outputs] in [-1, 1]."""

    def __init__(
        self,
        args: Args,
        environment: Environment,
        steps: int,
        seed: int,
        inputs: int,
        outputs: int,
        start: Mapping[str, Weights] | None = None,
    ) -> None:
        self.args, self.environment, self.seed = args, environment, seed
        self.inputs, self.outputs = inputs, outputs
        rows = environment.rows
        torch.manual_seed(seed)
        self.last_t = max(1, steps // rows)
        self.actor = GaussianActor(inputs, widths(args.hidden), outputs)
        self.critics = TwinCritics(inputs + outputs, widths(args.hidden))
        self.warm = False
        if start is not None:
            self.warm = adopt(self.actor, start["actor"]) & adopt(self.critics, start["critics"])
        self.target = copy.deepcopy(self.critics).requires_grad_(False)
        if start is not None:
            adopt(self.target, start["target"])
        self.device = chosen()
        for network in (self.actor, self.critics, self.target):
            network.to(self.device)
        how = UpdateArgs(
            args.learning_rate * args.learning_rate_factor,
            args.learning_rate_end,
            args.weight_decay,
            args.gradient_clip,
        )
        self.actor_updater = Updater(self.actor.parameters(), how)
        self.critic_updater = Updater(self.critics.parameters(), how)
        self.temperature = Temperature(math.log(args.temperature))
        self.memory = Memory(args.replay_rows, rows, inputs, outputs, args.batch_size)
        self.t = 0  # steps of all episodes
        self.episodes = Episodes(rows)
        self.patience = Patience(args.patience, self.last_t)
        self.means = Means()
        self._followers: list[Tensor] = list(self.target.parameters())
        self._leaders: list[Tensor] = list(self.critics.parameters())
        self._observation = environment.observation
        # torch aligns its memory, numpy does not: with fixed buffers the kernels always see the same layout
        self._seen = torch.zeros(rows, inputs)
        self._noise = torch.zeros(2, args.batch_size, outputs)

    @property
    def finished(self) -> bool:
        return self.t >= self.last_t or self.patience.exhausted

    @property
    def steps_done(self) -> int:
        return self.t * self.environment.rows

    def advance(self) -> None:
        """One step of every episode, then the gradient steps it pays for. Raises TrialError when it diverges."""
        rng = np.random.Generator(np.random.Philox(key=self.seed, counter=self.t << 128))
        a = self._act(rng)
        outcome = self.environment.step(a.numpy())
        self.memory.add(self._observation, a, outcome)
        self._observation = outcome.observation
        self.episodes.note(outcome)
        self.t += 1
        if self.t >= self.args.learning_starts:
            for _ in range(self.args.updates):
                self._learn(rng)
        if self.episodes.count:
            self.patience.note(self.t, self.episodes.reward)

    def _act(self, rng: np.random.Generator) -> Tensor:
        rows = self.environment.rows
        if self.t < self.args.learning_starts and not self.warm:
            return torch.from_numpy(rng.random((rows, self.outputs), np.float32)) * 2 - 1
        self._seen.numpy()[:] = self._observation
        with torch.no_grad():
            noise = rng.standard_normal((rows, self.outputs), np.float32)
            return self.actor.sample(self._seen.to(self.device), torch.from_numpy(noise).to(self.device))[0].cpu()

    def _learn(self, rng: np.random.Generator) -> None:
        drawn = self.memory.draw(rng.integers(0, self.memory.size, self.args.batch_size))
        batch = Batch(*(rows.to(self.device) for rows in drawn))
        rng.standard_normal(dtype=np.float32, out=self._noise.numpy())
        share = self.t / self.last_t
        alpha = self.temperature.alpha
        critic_loss, q_value = self._improve_critics(batch, alpha, share)
        actor_loss, entropy = self._improve_actor(batch.s, alpha, share)
        self.temperature.follow(entropy - self.args.target_entropy * self.outputs, self.actor_updater.learning_rate)
        torch._foreach_lerp_(self._followers, self._leaders, self.args.tau)
        pace = 1.0 / min(self.temperature.steps, AVERAGED_GRADIENT_STEPS)
        means = self.means
        means.critic_loss += (critic_loss - means.critic_loss) * pace
        means.actor_loss += (actor_loss - means.actor_loss) * pace
        means.q_value += (q_value - means.q_value) * pace
        means.entropy += (entropy - means.entropy) * pace

    def _improve_critics(self, batch: Batch, alpha: float, share: float) -> tuple[float, float]:
        """One step toward y = r + gamma (min Q'(s', a') - alpha log pi(a'|s')); the loss and the mean value before."""
        args = self.args
        with torch.no_grad():
            a_next, log_p = self.actor.sample(batch.s_next, self._noise[0].to(self.device))
            soft = self.target(batch.s_next, a_next).amin(0) - alpha * log_p
            y = args.reward_scale * batch.r + args.gamma * batch.alive * soft
        values: list[float] = []

        def loss(s: Tensor, a: Tensor, y: Tensor) -> Tensor:
            Q = self.critics(s, a)
            values.append(float(Q.detach().mean()))
            error: Tensor = (Q - y).square().sum(0).mean() * 0.5
            return error

        parts = zip(*(tensor.chunk(args.accumulation) for tensor in (batch.s, batch.a, y)), strict=True)
        found = self.critic_updater.step([partial(loss, *part) for part in parts], share)
        return found, sum(values) / len(values)

    def _improve_actor(self, s: Tensor, alpha: float, share: float) -> tuple[float, float]:
        """One step down alpha log pi(a|s) - min Q(s, a); that loss, and the policy's entropy before."""
        entropies: list[float] = []

        def loss(s: Tensor, noise: Tensor) -> Tensor:
            a, log_p = self.actor.sample(s, noise)
            entropies.append(-float(log_p.detach().mean()))
            cost: Tensor = (alpha * log_p - self.critics(s, a).amin(0)).mean()
            return cost

        noise = self._noise[1].to(self.device)
        parts = zip(s.chunk(self.args.accumulation), noise.chunk(self.args.accumulation), strict=True)
        self.critics.requires_grad_(False)  # the actor's gradient goes through them, theirs is not needed
        found = self.actor_updater.step([partial(loss, *part) for part in parts], share)
        self.critics.requires_grad_(True)
        return found, sum(entropies) / len(entropies)

    def metrics(self) -> dict[str, float]:
        """Running means at the end; deterministic."""
        found = {f"train_{name}": float(value) for name, value in vars(self.means).items()}
        others = {
            "train_temperature": self.temperature.alpha,
            "gradient_steps": float(self.temperature.steps),
            "warm_start": float(self.warm),
        }
        return {**self.episodes.metrics(), **found, **others}

    def exported(self) -> Exported:
        return Exported(self.actor.eval(), {"state": (self.inputs,)}, {"action": (self.outputs,)})

    def final(self) -> State:
        """What a later training may start from."""
        networks = {"actor": self.actor, "critics": self.critics, "target": self.target}
        return {name: network.state_dict() for name, network in networks.items()}

    def state(self) -> State:
        """All that the next step depends on."""
        return {
            **self.final(),
            "actor_updater": self.actor_updater.state(),
            "critic_updater": self.critic_updater.state(),
            "temperature": dict(vars(self.temperature)),
            "memory": self.memory.state(),
            "environment": dict(self.environment.state()),
            "episodes": self.episodes.state(),
            "patience": self.patience.state(),
            "means": dict(vars(self.means)),
            "counters": {"seed": self.seed, "t": self.t, "warm": self.warm},
        }

    def load_state(self, saved: Mapping[str, object]) -> None:
        """Go on from `state()`, as `weights.unpack` gives it back."""
        state = cast(Mapping[str, Mapping[str, Any]], saved)
        self.actor.load_state_dict(state["actor"])
        self.critics.load_state_dict(state["critics"])
        self.target.load_state_dict(state["target"])
        self.actor_updater.load_state(state["actor_updater"])
        self.critic_updater.load_state(state["critic_updater"])
        self.temperature = Temperature(**state["temperature"])
        self.memory.load_state(state["memory"])
        self.environment.load_state(arrays(state["environment"]))
        self._observation = self.environment.observation
        self.episodes.load_state(state["episodes"])
        self.patience.load_state(state["patience"])
        self.means = Means(**state["means"])
        counters = state["counters"]
        self.seed, self.t, self.warm = counters["seed"], counters["t"], counters["warm"]
