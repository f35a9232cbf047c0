"""A stochastic policy of continuous actions, and two critics of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.networks.layers import Stack, linear

LOG_STD_LEAST, LOG_STD_MOST = -5.0, 2.0


class GaussianActor(nn.Module):
    """state [batch, inputs] -> action [batch, outputs] in [-1, 1]: the tangens hyperbolicus of a Gaussian's mean."""

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.body = Stack(inputs, hidden)
        self.head = linear(self.body.outputs, 2 * outputs, 0.1)
        self.outputs = outputs

    def forward(self, state: Tensor) -> Tensor:
        return torch.tanh(self.head(self.body(state))[:, : self.outputs])

    def gaussian(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log of the standard deviation, [batch, outputs] each, before the tangens hyperbolicus."""
        mean, log_std = self.head(self.body(state)).chunk(2, 1)
        return mean, log_std.clamp(LOG_STD_LEAST, LOG_STD_MOST)

    def sample(self, state: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Actions [batch, outputs] and their log densities [batch], from standard normal `noise` [batch, outputs].

        log pi(a) = log N(u) - sum log(1 - tanh(u)^2), the latter as 2 (log 2 - u - softplus(-2 u)), which is exact
        where the action saturates.
        """
        mean, log_std = self.gaussian(state)
        u = mean + log_std.exp() * noise
        gaussian = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
        squashed = 2 * (math.log(2) - u - functional.softplus(-2 * u))
        return torch.tanh(u), (gaussian - squashed).sum(1)


class TwinCritics(nn.Module):
    """(state, action) -> [2, batch]: two networks of one shape, computed as one stacked batch."""

    def __init__(self, inputs: int, hidden: Sequence[int]) -> None:
        super().__init__()
        shapes = list(pairwise([inputs, *hidden, 1]))
        twins = [[linear(a, b, 2**0.5 if b > 1 else 1.0).weight.detach().T for a, b in shapes] for _ in range(2)]
        self.weights = nn.ParameterList([torch.stack(pair).contiguous() for pair in zip(*twins, strict=True)])
        self.biases = nn.ParameterList([torch.zeros(2, 1, b) for _, b in shapes])

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        x = torch.cat([state, action], 1).expand(2, -1, -1)
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            if layer < last:
                x = torch.relu(x)
        return x[:, :, 0]
