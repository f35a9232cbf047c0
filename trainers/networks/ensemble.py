"""An ensemble of small classifiers computed as one stack, and what it makes of their disagreement."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

SMALLEST = 1e-9
"""Probabilities are at least this under a logarithm."""


class EnsembleNetwork(nn.Module):
    """observation [batch, inputs] -> probabilities [batch, classes], uncertainty [batch, 2].

    Members differ in their first weights and in what they are shown. Their probabilities p_k = softmax(z_k / T) are
    averaged; uncertainty is the entropy of the average, in nats, and the part of it that the members disagree about:
    H(mean p_k) - mean H(p_k), the mutual information of class and member (Depeweg et al. 2018).
    """

    def __init__(self, members: int, inputs: int, hidden: Sequence[int], classes: int) -> None:
        super().__init__()
        widths = [inputs, *hidden, classes]
        self.weights = nn.ParameterList([_weights(members, a, b) for a, b in pairwise(widths)])
        self.biases = nn.ParameterList([nn.Parameter(torch.zeros(members, 1, width)) for width in widths[1:]])
        self.temperature: Tensor
        self.register_buffer("temperature", torch.ones(1))

    def logits(self, observation: Tensor) -> Tensor:
        """z, [members, batch, classes], before the temperature."""
        x: Tensor = torch.matmul(observation[None], self.weights[0]) + self.biases[0]
        for weight, bias in zip(list(self.weights)[1:], list(self.biases)[1:], strict=True):
            x = torch.matmul(torch.relu(x), weight) + bias
        return x

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        p = torch.softmax(self.logits(observation) / self.temperature, 2)
        mean = p.mean(0)
        total = _entropy(mean)
        return mean, torch.stack([total, total - _entropy(p).mean(0)], 1)


def _weights(members: int, inputs: int, outputs: int) -> nn.Parameter:
    each = torch.empty(members, inputs, outputs)
    for weight in each:
        nn.init.kaiming_uniform_(weight.T, nonlinearity="relu")
    return nn.Parameter(each)


def _entropy(p: Tensor) -> Tensor:
    return -(p * torch.log(torch.clamp(p, min=SMALLEST))).sum(-1)
