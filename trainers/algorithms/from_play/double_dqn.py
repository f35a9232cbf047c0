"""Double DQN (van Hasselt et al. 2016) on recorded play, held to what the start would have chosen.

What was hardly ever played has values that nothing corrects, and the greatest of them would be chosen. So beside the
error there is alpha T KL(softmax(Q0 / T) || softmax(Q / T)), Q0 being the values that the training started with: it
acts on what sets actions apart and lets the level of a state's values go where the play puts it. With the action that
was played in place of softmax(Q0 / T) it would be the conservative term of CQL(H) (Kumar et al. 2020), which also holds
to whatever a game's exploration tried; side by side it gained less.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from supervisor.contract import Reason
from supervisor.errors import TrialError
from trainers import device
from trainers.algorithms.dqn_args import Args
from trainers.algorithms.from_play.learner import Judged
from trainers.algorithms.from_play.memory import Drawn, Floats
from trainers.algorithms.stacked_updates import Pace, StackedAdamW
from trainers.learner import Exported, State
from trainers.networks.mlp import QModel, Weights
from trainers.networks.stacked import Stack, TrainedStack

LEARNING_RATE_SHARE: Final = 3.0
"""Of the search's rate: batches are four times as large, and bear it."""

TARGET_INTERVAL_SHARE: Final = 1 / 8
"""Of the search's interval: hundreds of gradient steps, not thousands, have to carry values back through a fight."""

CONSERVATISM: Final = 0.03
"""alpha, where the plan's factor is 1: measured by tests/benchmarks/from_play.py."""

TEMPERATURE: Final = 1.0
"""T, in mean standard deviations of Q0 over the actions: whatever scale rewards have."""

LEAST_TEMPERATURE: Final = 1e-6


@dataclass(frozen=True)
class Values:
    """A network and the one that values what comes after."""

    network: Stack
    target: Stack
    double: bool

    def worth(self, drawn: Drawn) -> Floats:
        """What was done, from what it brought and where it led."""
        s_next = _tensor(drawn.next_states, self.device)
        q_next = self.target(s_next)
        chooser = self.network(s_next) if self.double else q_next
        best = q_next.gather(2, chooser.argmax(2, keepdim=True))[0, :, 0].cpu().numpy()
        worth: Floats = drawn.returns + drawn.discount * best
        return worth

    @property
    def device(self) -> torch.device:
        return self.network.values.device

    def state(self) -> State:
        return {"network": self.network.state(0), "target": self.target.state(0)}

    def load_state(self, saved: Mapping[str, Any]) -> None:
        self.network.load(0, saved["network"])
        self.target.load(0, saved["target"])

    def judged(self, drawn: Drawn) -> Judged:
        q = self.network(_tensor(drawn.states, self.device))[0].cpu().numpy()
        values = q[np.arange(len(q)), drawn.actions]
        return Judged(np.abs(values - self.worth(drawn)), values, q.argmax(1) == drawn.actions)


class PlayedDqn:
    """A Method, for any network that answers with values."""

    numbers = 0

    def __init__(
        self, args: Args, conservatism: float, model: QModel, inputs: int, start: Mapping[str, Weights] | None
    ) -> None:
        """`model` is the network with its first weights, `start` those that take their place as far as they fit;
        `conservatism` is a factor of alpha."""
        self.inputs, self.args, self._alpha = inputs, args, CONSERVATISM * conservatism
        self.n_step, self.gamma = args.n_step, args.gamma
        self.device = device.chosen()
        self._online = TrainedStack(model, 1, self.device)
        self.now = Values(self._online, Stack(model, 1, self.device), args.double)
        self.first = Values(Stack(model, 1, self.device), Stack(model, 1, self.device), args.double)
        for name in ("network", "target"):
            if start is not None:
                model.adopt(start[name])
            for values in (self.now, self.first):
                getattr(values, name).load(0, model.state_dict())
        rate = args.learning_rate * LEARNING_RATE_SHARE
        pace = Pace(rate, args.learning_rate_end, args.weight_decay, args.gradient_clip)
        self._optimizer = StackedAdamW(self._online.values, self._online.gradients, [pace])
        self._target_interval = max(1, round(args.target_interval * TARGET_INTERVAL_SHARE))
        self._gradient_steps = 0

    def improve(
        self, drawn: Drawn, parts: int, share: float, rng: np.random.Generator
    ) -> tuple[Floats, Mapping[str, float]]:
        y = self.now.worth(drawn)
        s = _tensor(drawn.states, self.device)
        a = torch.from_numpy(drawn.actions)[None, :, None].to(self.device)
        held, temperature = self._choice(s)
        dice = [device.dice(self.device, int(rng.integers(2**63)))] if self.args.dropout else None
        values, loss, size = np.empty_like(y), 0.0, len(y) // parts
        for begin in range(0, len(y), size):
            part = slice(begin, begin + size)
            q, back = self._online.followed(s[:, part], dice)
            values[part] = q.gather(2, a[:, part])[0, :, 0].cpu().numpy()
            off = values[part] - y[part]
            slope = off.clip(-1, 1)  # Huber's
            weighted = drawn.weight[part] * slope / np.float32(len(y))
            # of alpha T KL, so that T is no second alpha
            gradient = (torch.softmax(q / temperature, 2) - held[:, part]) * (self._alpha / len(y))
            gradient.scatter_add_(2, a[:, part], torch.from_numpy(weighted)[None, :, None].to(self.device))
            self._online.add_gradients(back, gradient, first=begin == 0)
            loss += float((weighted * (off - slope / 2)).sum())
        self._move(loss, share)
        errors = np.abs(values - y)
        return errors, {"loss": loss, "td_error": float(errors.mean()), "q_value": float(values.mean())}

    def _choice(self, s: Tensor) -> tuple[Tensor, float]:
        """softmax(Q0 / T), and T."""
        q = self.first.network(s)
        temperature = max(float(q.std(2).mean()) * TEMPERATURE, LEAST_TEMPERATURE)
        return torch.softmax(q / temperature, 2), temperature

    def _move(self, loss: float, share: float) -> None:
        """One step along the gradient. Raises TrialError where it blew up, with the last good weights left."""
        norms = self._optimizer.norms()
        if not (math.isfinite(loss) and math.isfinite(float(norms))):
            told = f"loss {loss}, norm of the gradient {float(norms)} at gradient step {self._gradient_steps + 1}"
            raise TrialError(Reason.DIVERGED, told)
        self._optimizer.step(norms, np.ones(1, np.bool_), [share])
        self._gradient_steps += 1
        if self._gradient_steps % self._target_interval == 0:
            self.now.target.values.copy_(self._online.values)

    def judged(self, drawn: Drawn) -> tuple[Judged, Judged]:
        return self.first.judged(drawn), self.now.judged(drawn)

    def final(self) -> State:
        return self.now.state()

    def state(self) -> State:
        optimizer = {**self._optimizer.state(0), "gradient_steps": self._gradient_steps}
        return {**self.now.state(), "first": self.first.state(), "optimizer": optimizer}

    def load_state(self, saved: Mapping[str, Any]) -> None:
        self.now.load_state(saved)
        self.first.load_state(saved["first"])
        self._optimizer.load_state(0, saved["optimizer"])
        self._gradient_steps = saved["optimizer"]["gradient_steps"]

    def exported(self) -> Exported:
        return self._online.network(0).exported()


def _tensor(rows: Floats, where: torch.device) -> Tensor:
    """[1, rows, width]"""
    return device.copied(rows, where)[None]
