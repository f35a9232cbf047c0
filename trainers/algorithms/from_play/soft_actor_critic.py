"""Actor and twin critics (Haarnoja et al. 2018) on recorded play, held to what the start would have done.

The critics learn what was done is worth, the actor climbs them less c KL(pi || pi_0), pi_0 being the actor that the
training started with: what nobody has tried has values that nothing corrects, so it must not stray far from what was
played. Values are measured in their own mean size (as in TD3+BC, Fujimoto & Gu 2021), so c has no unit. There is no
bonus for entropy: nothing is explored.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from trainers.algorithms.from_play.learner import Judged
from trainers.algorithms.from_play.memory import Drawn, Floats
from trainers.algorithms.sac import Args
from trainers.algorithms.updates import UpdateArgs, Updater
from trainers.device import chosen, copied
from trainers.learner import Exported, State
from trainers.networks.gaussian import GaussianActor, TwinCritics
from trainers.networks.layers import Weights, adopt, widths

N_STEP: Final = 8
LEARNING_RATE_SHARE: Final = 1.0
"""Of the search's rate."""

TAU_FACTOR: Final = 2.0
"""How much faster than in the search the target critics follow."""

CONSERVATISM: Final = 0.01
"""c, where the plan's factor is 1: measured by tests/benchmarks/from_play.py."""

SAME: Final = 0.5
"""Controls that lie within this of each other in every number are the same."""


class Networks(nn.Module):
    """An actor, its critics, and those that value what comes after."""

    def __init__(self, args: Args, inputs: int, numbers: int, start: Mapping[str, Weights] | None) -> None:
        super().__init__()
        self.actor = GaussianActor(inputs, widths(args.hidden), numbers)
        self.critics = TwinCritics(inputs + numbers, widths(args.hidden))
        if start is not None:
            adopt(self.actor, start["actor"])
            adopt(self.critics, start["critics"])
        self.target = copy.deepcopy(self.critics).requires_grad_(False)
        if start is not None:
            adopt(self.target, start["target"])
        self.device = chosen()
        self.to(self.device)

    def final(self) -> State:
        return {name: own.state_dict() for name, own in self.named_children()}

    def load(self, saved: Mapping[str, Any]) -> None:
        for name, own in self.named_children():
            own.load_state_dict(saved[name])

    def worth(self, drawn: Drawn, a_next: Tensor, s_next: Tensor) -> Tensor:
        """What was done, from what it brought and where it led."""
        returns, discount = copied(drawn.returns, self.device), copied(drawn.discount, self.device)
        found: Tensor = returns + discount * self.target(s_next, a_next).amin(0)
        return found

    @torch.no_grad()
    def judged(self, drawn: Drawn) -> Judged:
        s, a, s_next = (copied(rows, self.device) for rows in (drawn.states, drawn.controls, drawn.next_states))
        values = self.critics(s, a).amin(0)
        errors = values - self.worth(drawn, self.actor(s_next), s_next)
        near = (self.actor(s) - a).abs().amax(1) <= SAME
        return Judged(errors.abs().cpu().numpy(), values.cpu().numpy(), near.cpu().numpy())


class PlayedSac:
    """A Method."""

    n_step = N_STEP

    def __init__(
        self, args: Args, conservatism: float, inputs: int, numbers: int, start: Mapping[str, Weights] | None
    ) -> None:
        """`conservatism` is a factor of c."""
        self.inputs, self.numbers, self.args, self.gamma = inputs, numbers, args, args.gamma
        self._c = CONSERVATISM * conservatism
        self.now = Networks(args, inputs, numbers, start)
        self.first = copy.deepcopy(self.now).requires_grad_(False)
        rate = args.learning_rate * args.learning_rate_factor * LEARNING_RATE_SHARE
        how = UpdateArgs(rate, args.learning_rate_end, args.weight_decay, args.gradient_clip)
        self._actor_updater = Updater(self.now.actor.parameters(), how)
        self._critic_updater = Updater(self.now.critics.parameters(), how)
        self._followers: list[Tensor] = list(self.now.target.parameters())
        self._leaders: list[Tensor] = list(self.now.critics.parameters())

    def improve(
        self, drawn: Drawn, parts: int, share: float, rng: np.random.Generator
    ) -> tuple[Floats, Mapping[str, float]]:
        device = self.now.device
        noise = copied(rng.standard_normal((2, len(drawn.index), self.numbers), np.float32), device)
        s, s_next = copied(drawn.states, device), copied(drawn.next_states, device)
        with torch.no_grad():
            y = self.now.worth(drawn, self.now.actor.sample(s_next, noise[0])[0], s_next)
        rows = (s, copied(drawn.controls, device), y, copied(drawn.weight, device))
        values: list[Tensor] = []
        losses = [partial(self._critic_loss, values, *part) for part in _split(rows, parts)]
        critic_loss = self._critic_updater.step(losses, share)
        found = torch.cat(values)
        scale = max(float(found.abs().mean()), 1e-6)
        self.now.critics.requires_grad_(False)  # the actor's gradient goes through them, theirs is not needed
        losses = [partial(self._actor_loss, scale, *part) for part in _split((s, noise[1]), parts)]
        actor_loss = self._actor_updater.step(losses, share)
        self.now.critics.requires_grad_(True)
        torch._foreach_lerp_(self._followers, self._leaders, min(1.0, self.args.tau * TAU_FACTOR))
        errors: Floats = (found - y).abs().cpu().numpy()
        means = {"td_error": float(errors.mean()), "q_value": float(found.mean())}
        return errors, {"loss": critic_loss, "actor_loss": actor_loss, **means}

    def _critic_loss(self, values: list[Tensor], s: Tensor, a: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        Q = self.now.critics(s, a)
        values.append(Q.detach().amin(0))
        loss: Tensor = (weight * (Q - y).square().sum(0)).mean() * 0.5
        return loss

    def _actor_loss(self, scale: float, s: Tensor, noise: Tensor) -> Tensor:
        mean, log_std = self.now.actor.gaussian(s)
        with torch.no_grad():
            mean_0, log_std_0 = self.first.actor.gaussian(s)
        a = torch.tanh(mean + log_std.exp() * noise)
        # of the two Gaussians: the tanh behind them changes nothing
        spread = (2 * (log_std - log_std_0)).exp() + ((mean - mean_0) / log_std_0.exp()).square()
        divergence = (log_std_0 - log_std + spread / 2 - 0.5).sum(1)
        loss: Tensor = (self._c * divergence - self.now.critics(s, a).amin(0) / scale).mean()
        return loss

    def judged(self, drawn: Drawn) -> tuple[Judged, Judged]:
        return self.first.judged(drawn), self.now.judged(drawn)

    def final(self) -> State:
        return self.now.final()

    def state(self) -> State:
        updaters = {"actor_updater": self._actor_updater.state(), "critic_updater": self._critic_updater.state()}
        return {**self.now.final(), "first": self.first.final(), **updaters}

    def load_state(self, saved: Mapping[str, Any]) -> None:
        self.now.load(saved)
        self.first.load(saved["first"])
        self._actor_updater.load_state(saved["actor_updater"])
        self._critic_updater.load_state(saved["critic_updater"])

    def exported(self) -> Exported:
        return Exported(self.now.actor.eval(), {"state": (self.inputs,)}, {"action": (self.numbers,)})


def _split(rows: tuple[Tensor, ...], parts: int) -> list[tuple[Tensor, ...]]:
    return list(zip(*(tensor.chunk(parts) for tensor in rows), strict=True))
