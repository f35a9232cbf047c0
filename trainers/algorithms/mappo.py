"""Recurrent multi-agent PPO, MAPPO (Yu et al. 2022): decentralized LSTM actors that share their weights, and a
centralized critic that is used in training only.

Read top to bottom. Rollouts of `horizon` ticks of all fights alternate with `epochs` passes over them, in minibatches
of sequences of `chunk` ticks of one member each; a sequence begins with the recurrent state that the member had then
and forgets it where a fight ended (truncated backpropagation through time). Schedules are functions of the absolute
step and every random number comes from (seed, tick, epoch), so a training restored from `state()` goes on bit for bit,
also in the midst of a rollout; one torch thread is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from supervisor.contract import Reason
from supervisor.errors import TrialError
from trainers.algorithms.environment import Bools, Episodes, Floats, Ints, arrays
from trainers.algorithms.pack_rollout import PackRollout, ValueScale
from trainers.algorithms.patience import Patience
from trainers.algorithms.updates import UpdateArgs, Updater
from trainers.device import chosen, copied
from trainers.learner import Exported, State
from trainers.networks.layers import Weights, adopt
from trainers.networks.lstm import JointCritic, RecurrentActor

AVERAGED_MINIBATCHES = 200.0
"""The running means over gradient steps forget at this pace."""

TINY = 1e-6
CHOICES = 10


@dataclass(frozen=True)
class Args:
    """One field per parameter of the search space."""

    learning_rate: float  # of AdamW at the start, times the factor
    learning_rate_factor: float  # a small network takes larger steps
    learning_rate_end: float  # share of it left at the last step
    weight_decay: float
    gradient_clip: float  # largest norm of a gradient
    gamma: float  # discount per tick
    gae_lambda: float  # between one-step (0) and whole-fight (1) advantages
    clip: float  # epsilon: how far the new policy's probabilities may move from those that acted
    value_coefficient: float  # weight of the critic's Huber loss
    entropy_coefficient: float  # weight of the policy's entropy at the start; it falls to 0 linearly
    sharpness: float  # factor of the logits at the end, from 1: games are played with the best order alone
    horizon: int  # ticks of all fights in a rollout
    chunk: int  # ticks that a gradient reaches back; divides the horizon
    epochs: int  # passes over a rollout
    minibatches: int  # gradient steps per pass
    accumulation: int  # micro-batches that a minibatch is worked off in
    patience: int  # looks (50 over the budget) without a better mean return before training ends; 0 never
    layers: int  # LSTM layers of the actor
    width: int  # of each of them
    critic: int  # width of the critic's two layers
    amp: bool

    def __post_init__(self) -> None:
        """Raises TrialError that names every value no training can start with."""
        wrong = [f"{name} must be at least 1" for name in _COUNTS if getattr(self, name) < 1]
        if not wrong and self.horizon % self.chunk:
            wrong.append(f"chunk ({self.chunk}) must divide horizon ({self.horizon})")
        if self.sharpness <= 0:
            wrong.append("sharpness must be above 0")
        if self.clip <= 0:
            wrong.append("clip must be above 0")
        if wrong:
            raise TrialError(Reason.OUT_OF_RANGE, "; ".join(wrong))


_COUNTS = ("horizon", "chunk", "epochs", "minibatches", "accumulation", "layers", "width", "critic")


class Step(Protocol):
    """What one tick of all fights brought."""

    @property
    def observation(self) -> Floats:
        """(rows, pack, inputs); of the next fight where one ended."""

    @property
    def reward(self) -> Floats:
        """(rows, pack)"""

    @property
    def done(self) -> Bools: ...

    @property
    def score(self) -> Floats:
        """(rows,): win 1, draw 1/2, loss 0; means something where `done`."""


class Packs(Protocol):
    """Fights side by side; one that ends is followed by the next at once, in the same row."""

    rows: int
    pack_size: int

    @property
    def observation(self) -> Floats:
        """What each member sees now, (rows, pack, inputs): all 0 once it has fallen."""

    @property
    def joint(self) -> Floats:
        """All there is to know now, (rows, joint inputs)."""

    def step(self, actions: Ints) -> Step: ...

    def state(self) -> Mapping[str, NDArray[np.generic]]: ...

    def load_state(self, saved: Mapping[str, NDArray[np.generic]]) -> None: ...


class _PackStep(NamedTuple):
    """A tick as running means see it."""

    observation: Floats
    reward: Floats  # (rows,): the mean over the pack
    done: Bools
    score: Floats
    cut: None = None


@dataclass
class Means:
    """Running means over minibatches; `explained_variance` is the last rollout's."""

    loss: float = 0.0
    value_loss: float = 0.0
    entropy: float = 0.0  # nats
    kl: float = 0.0  # of the acting from the new policy
    clipped: float = 0.0  # share of the probabilities that moved further than the clip
    explained_variance: float = 0.0


class Mappo:
    """A Learner. `steps` are ticks of members: a tick of a fight of five counts five."""

    def __init__(
        self,
        args: Args,
        packs: Packs,
        steps: int,
        seed: int,
        bars: Mapping[int, int],
        start: Mapping[str, Weights] | None = None,
    ) -> None:
        """`bars`: see RecurrentActor."""
        self.args, self.packs, self.seed = args, packs, seed
        rows, pack = packs.rows, packs.pack_size
        self._observation = packs.observation
        inputs, joint = self._observation.shape[2], packs.joint.shape[1]
        torch.manual_seed(seed)
        self.actor = RecurrentActor(inputs, args.layers, args.width, CHOICES, bars)
        self.critic = JointCritic(inputs, joint, args.critic)
        self.warm = False
        if start is not None:
            self.warm = adopt(self.actor, start["network"])
            adopt(self.critic, start["critic"])
        self.device = chosen()
        for network in (self.actor, self.critic):
            network.to(self.device)
        self.updater = Updater(
            [*self.actor.parameters(), *self.critic.parameters()],
            UpdateArgs(
                args.learning_rate * args.learning_rate_factor,
                args.learning_rate_end,
                args.weight_decay,
                args.gradient_clip,
                args.amp,
            ),
        )
        self.values = ValueScale()
        self.rollouts = max(1, steps // (rows * pack * args.horizon))
        self.rollout = PackRollout(args.horizon, args.chunk, rows, pack, inputs, joint, 2 * args.layers * args.width)
        self.t = 0  # ticks of all fights
        self.unit = 0  # of work, within the rollout
        self.episodes = Episodes(rows)
        self.patience = Patience(args.patience, self.rollouts)
        self.means = Means()
        self._goes_on = np.zeros(rows, np.float32)
        self._h = torch.zeros(rows * pack, args.layers, args.width)
        self._c = torch.zeros(rows * pack, args.layers, args.width)
        self._order: Tensor | None = None  # of the rollout's sequences in the epoch under way

    @property
    def _units(self) -> int:
        """Units of work per rollout: its ticks, then its minibatches."""
        return self.args.horizon + self.args.epochs * self.args.minibatches

    @property
    def finished(self) -> bool:
        return self.unit == 0 and (self.t >= self.rollouts * self.args.horizon or self.patience.exhausted)

    @property
    def steps_done(self) -> int:
        return self.t * self.packs.rows * self.packs.pack_size

    @property
    def _sharpness(self) -> float:
        """What logits are multiplied by while this rollout is played and learnt from."""
        begun = (self.t - 1) // self.args.horizon if self.unit else self.t // self.args.horizon
        return 1.0 + (self.args.sharpness - 1.0) * begun / self.rollouts

    def advance(self) -> None:
        """A tick of every fight, or, once the rollout is full, a minibatch. Raises TrialError when it diverges."""
        if self.unit < self.args.horizon:
            self._act(self.unit)
        else:
            self._learn(self.unit - self.args.horizon)
        self.unit = (self.unit + 1) % self._units

    def _act(self, t: int) -> None:
        rollout, shape = self.rollout, self._observation.shape
        rng = np.random.Generator(np.random.Philox(key=self.seed, counter=self.t << 128))
        rollout.o.numpy()[t] = self._observation
        rollout.joint.numpy()[t] = self.packs.joint
        rollout.goes_on.numpy()[t] = self._goes_on
        keep = rollout.goes_on[t].repeat_interleave(shape[1])[:, None, None]
        self._h, self._c = self._h * keep, self._c * keep
        if t % self.args.chunk == 0:
            both = torch.cat([self._h, self._c], 1)
            rollout.memory[t // self.args.chunk] = both.view(shape[0], shape[1], -1)
        with torch.no_grad():
            seen = (rollout.o[t].view(-1, shape[2]), self._h, self._c)
            logits, self._h, self._c = (found.cpu() for found in self.actor(*(own.to(self.device) for own in seen)))
            log_p = torch.log_softmax(self._sharpness * logits, 1)
        a = _drawn(log_p, torch.from_numpy(rng.random(len(log_p), np.float32)))
        rollout.a[t] = a.view(shape[:2])
        rollout.log_p[t] = log_p.gather(1, a[:, None]).view(shape[:2])
        outcome = self.packs.step(rollout.a[t].numpy())
        rollout.r.numpy()[t] = outcome.reward
        rollout.last.numpy()[t] = outcome.done
        self._goes_on = (~outcome.done).astype(np.float32)
        self._observation = outcome.observation
        reward = outcome.reward.mean(1, dtype=np.float32)
        self.episodes.note(_PackStep(outcome.observation, reward, outcome.done, outcome.score))
        self.t += 1

    def _learn(self, number: int) -> None:
        args, rollout = self.args, self.rollout
        epoch, place = divmod(number, args.minibatches)
        if number == 0:
            self._weigh()
        chunks, rows, pack, _ = rollout.memory.shape
        count = chunks * rows * pack
        if place == 0 or self._order is None:
            rng = np.random.Generator(np.random.Philox(key=self.seed, counter=(self.t << 128) + (epoch + 1 << 192)))
            self._order = torch.from_numpy(rng.permutation(count))
        self._improve(self._order.tensor_split(args.minibatches)[place])
        if number + 1 == args.epochs * args.minibatches and self.episodes.count:
            self.patience.note(self.t // args.horizon, self.episodes.reward)

    def _weigh(self) -> None:
        """The critic's values of all ticks at once, and the advantages that follow from them."""
        rollout = self.rollout
        now = copied(self._observation, self.device), copied(self.packs.joint, self.device)
        played = rollout.o.flatten(0, 1).to(self.device), rollout.joint.flatten(0, 1).to(self.device)
        with torch.no_grad():
            V = self.critic(*played).cpu().view(rollout.V.shape)
            V_after = self.critic(*now).cpu() * self.values.spread + self.values.centre
        rollout.V.copy_(V * self.values.spread + self.values.centre)
        rollout.weigh(V_after.numpy(), self.args.gamma, self.args.gae_lambda)
        self.means.explained_variance = rollout.explained_variance()
        self.values.note(rollout.R.numpy())
        alive = rollout.o[..., 0] > 0
        if alive.sum() > 1:
            spread, mean = torch.std_mean(rollout.A[alive])
            rollout.A.sub_(mean).div_(spread + TINY)

    def _improve(self, sequences: Tensor) -> None:
        """One gradient step on some sequences of the rollout."""
        notes: list[tuple[float, ...]] = []
        parts = [part for part in sequences.chunk(self.args.accumulation) if len(part)]
        share = self.t / (self.rollouts * self.args.horizon)
        loss = self.updater.step([partial(self._loss, part, notes) for part in parts], share)
        pace = 1.0 / min(self.updater.steps, AVERAGED_MINIBATCHES)
        names = ("loss", "value_loss", "entropy", "kl", "clipped")
        for name, value in zip(names, (loss, *np.mean(notes, axis=0).tolist()), strict=True):
            before = getattr(self.means, name)
            setattr(self.means, name, before + (value - before) * pace)

    def _loss(self, index: Tensor, notes: list[tuple[float, ...]]) -> Tensor:
        """-L^CLIP + c1 L^VF - c2 S over the ticks at which a member stood; the critic learns from the others too."""
        args, rollout = self.args, self.rollout
        _, rows, pack, _ = rollout.memory.shape
        part, member = index // (rows * pack), index % (rows * pack)
        row, slot = member // pack, member % pack
        time = part[None] * args.chunk + torch.arange(args.chunk)[:, None]  # [chunk, sequences]
        kept = (rollout.o, rollout.a, rollout.A, rollout.R, rollout.log_p)
        o, a, A, R, log_p_then = (values[time, row, slot].to(self.device) for values in kept)
        memory = rollout.memory[part, row, slot].to(self.device)
        h, c = memory.view(len(index), 2 * args.layers, args.width).split(args.layers, 1)
        goes_on = rollout.goes_on[time, row].to(self.device)
        goes_on[0] = 1.0  # the stored state has forgotten already
        log_p = torch.log_softmax(self._sharpness * self.actor.unroll(o, h, c, goes_on), 2)
        alive = (o[..., 0] > 0).float()
        share = alive / alive.sum().clamp(min=1.0)
        entropy = -((log_p.exp() * log_p).sum(2) * share).sum()
        log_ratio = log_p.gather(2, a[..., None])[..., 0] - log_p_then
        ratio = log_ratio.exp()
        surrogate = (torch.minimum(ratio * A, ratio.clamp(1 - args.clip, 1 + args.clip) * A) * share).sum()
        joint = rollout.joint[time, row].flatten(0, 1).to(self.device)
        V = self.critic(o.view(-1, 1, o.shape[2]), joint).view(R.shape)
        value_loss = functional.smooth_l1_loss(V, (R - self.values.centre) / self.values.spread)
        with torch.no_grad():
            kl = ((ratio - 1 - log_ratio) * share).sum()
            clipped = (((ratio - 1).abs() > args.clip) * share).sum()
            notes.append(tuple(torch.stack([value_loss, entropy, kl, clipped]).tolist()))
        explore = args.entropy_coefficient * (1 - self.t / (self.rollouts * args.horizon))
        return args.value_coefficient * value_loss - surrogate - explore * entropy

    def metrics(self) -> dict[str, float]:
        """Running means at the end; deterministic."""
        found = {f"train_{name}": float(value) for name, value in vars(self.means).items()}
        counts = {"gradient_steps": float(self.updater.steps), "warm_start": float(self.warm)}
        return {**self.episodes.metrics(), **found, **counts}

    def exported(self) -> Exported:
        """The actor alone: nobody needs the critic to play."""
        memory = (self.args.layers, self.args.width)
        return Exported(
            self.actor.eval(),
            {"observation": (self._observation.shape[2],), "h_in": memory, "c_in": memory},
            {"logits": (CHOICES,), "h_out": memory, "c_out": memory},
        )

    def final(self) -> State:
        """What a later training may start from."""
        return {"network": self.actor.state_dict(), "critic": self.critic.state_dict()}

    def state(self) -> State:
        """All that the next unit of work depends on."""
        return {
            **self.final(),
            "updater": self.updater.state(),
            "environment": dict(self.packs.state()),
            "rollout": self.rollout.state(),
            "memory": {"h": self._h.clone(), "c": self._c.clone(), "goes_on": torch.from_numpy(self._goes_on.copy())},
            "counters": {"seed": self.seed, "t": self.t, "unit": self.unit, "warm": self.warm},
            "values": dict(vars(self.values)),
            "means": dict(vars(self.means)),
            "episodes": self.episodes.state(),
            "patience": self.patience.state(),
        }

    def load_state(self, saved: Mapping[str, object]) -> None:
        """Go on from `state()`, as `weights.unpack` gives it back: with tensors for arrays."""
        state = cast(Mapping[str, Mapping[str, object]], saved)
        self.actor.load_state_dict(state["network"])
        self.critic.load_state_dict(state["critic"])
        self.updater.load_state(state["updater"])
        self.packs.load_state(arrays(state["environment"]))
        self._observation = self.packs.observation
        self.rollout.load_state(cast(Mapping[str, Tensor], state["rollout"]))
        memory = cast(Mapping[str, Tensor], state["memory"])
        self._h, self._c = memory["h"].clone(), memory["c"].clone()
        self._goes_on = memory["goes_on"].numpy().copy()
        counters = cast(Mapping[str, int], state["counters"])
        self.seed, self.t, self.unit = counters["seed"], counters["t"], counters["unit"]
        self.warm = bool(counters["warm"])
        self.values = ValueScale(**cast(Mapping[str, float], state["values"]))
        self.means = Means(**cast(Mapping[str, float], state["means"]))
        self.episodes.load_state(state["episodes"])
        self.patience.load_state(state["patience"])
        self._order = None


def _drawn(log_p: Tensor, uniform: Tensor) -> Tensor:
    """A choice per row by its probabilities: as many as have their cumulative probability at or below the uniform."""
    below = (log_p.exp().cumsum(1) <= uniform[:, None]).sum(1)
    return below.clamp(max=log_p.shape[1] - 1)
