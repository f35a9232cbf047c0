"""What MAPPO keeps of the ticks it has just played, and the scale that its critic thinks in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainers.algorithms.environment import Floats

VALUE_MEMORY = 0.99
"""Share of the returns' running mean and spread that a rollout leaves as it was."""

TINY = 1e-6


@dataclass
class ValueScale:
    """Running mean and spread of returns: the critic learns (R - mean) / spread, whatever the rewards are scaled by."""

    mean: float = 0.0
    square: float = 0.0
    weight: float = 0.0  # of what was seen so far; corrects the start at 0

    def note(self, R: Floats) -> None:
        """One rollout's returns."""
        self.mean = VALUE_MEMORY * self.mean + (1 - VALUE_MEMORY) * float(R.mean(dtype=np.float64))
        self.square = VALUE_MEMORY * self.square + (1 - VALUE_MEMORY) * float(np.square(R, dtype=np.float64).mean())
        self.weight = VALUE_MEMORY * self.weight + (1 - VALUE_MEMORY)

    @property
    def centre(self) -> float:
        return self.mean / self.weight if self.weight else 0.0

    @property
    def spread(self) -> float:
        if not self.weight:
            return 1.0
        return float(max(self.square / self.weight - self.centre**2, TINY) ** 0.5)


class PackRollout:
    """`horizon` ticks of `rows` fights of packs, in fixed buffers (torch aligns its memory, numpy does not)."""

    def __init__(self, horizon: int, chunk: int, rows: int, pack: int, inputs: int, joint: int, memory: int) -> None:
        members = horizon, rows, pack
        self.o = torch.zeros(*members, inputs)
        self.joint = torch.zeros(horizon, rows, joint)
        self.goes_on = torch.zeros(horizon, rows)  # 0 where the tick is the first of a fight
        self.memory = torch.zeros(horizon // chunk, rows, pack, memory)  # h and c before each chunk
        self.a = torch.zeros(*members, dtype=torch.int64)
        self.log_p = torch.zeros(*members)  # of the order given, when it was given
        self.r = torch.zeros(*members)
        self.last = torch.zeros(horizon, rows)  # 1 where the tick ended the fight
        self.V = torch.zeros(*members)
        self.A = torch.zeros(*members)
        self.R = torch.zeros(*members)  # what the critic is to learn

    def weigh(self, V_after: Floats, gamma: float, gae_lambda: float) -> None:
        """Advantages and returns: A_t = delta_t + gamma lambda A_t+1, delta_t = r_t + gamma V_t+1 - V_t."""
        V, A = self.V.numpy(), self.A.numpy()
        discount = np.float32(gamma) * (1 - self.last.numpy()[:, :, None])
        following: Floats = np.zeros_like(V_after)
        V_next = V_after
        for t in range(len(V) - 1, -1, -1):
            delta = self.r.numpy()[t] + discount[t] * V_next - V[t]
            following = delta + np.float32(gae_lambda) * discount[t] * following
            A[t], V_next = following, V[t]
        np.add(A, V, out=self.R.numpy())

    def explained_variance(self) -> float:
        """How much of the returns' variance the critic foresaw: 1 is all of it, 0 none; may be negative."""
        R, V = self.R.numpy(), self.V.numpy()
        spread = float(np.var(R, dtype=np.float64))
        return 1.0 - float(np.var(R - V, dtype=np.float64)) / spread if spread > 0 else 0.0

    def state(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in vars(self).items()}

    def load_state(self, saved: Mapping[str, Tensor]) -> None:
        for name, tensor in vars(self).items():
            tensor.copy_(saved[name])
