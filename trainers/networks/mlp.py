"""The Q-network: a stack of linear layers, with one head or the two of a dueling network (Wang et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class QNetwork(nn.Module):
    """state [batch, inputs] float32 -> Q-values [batch, outputs] float32.

    Dueling: Q = V + A - mean(A). Dropout stands behind every hidden layer and only acts in training mode.
    """

    def __init__(
        self, inputs: int, hidden: Sequence[int], outputs: int, dueling: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        widths = [inputs, *hidden]
        hidden_layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
        self.hidden = nn.ModuleList(hidden_layers)
        self.advantage = nn.Linear(widths[-1], outputs)
        self.value = nn.Linear(widths[-1], 1) if dueling else None
        self.dropout = dropout
        for layer in hidden_layers:
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, state: Tensor) -> Tensor:
        for layer in self.hidden:
            state = torch.relu(layer(state))
            if self.dropout and self.training:
                state = torch.dropout(state, self.dropout, train=True)
        advantage: Tensor = self.advantage(state)
        if self.value is None:
            return advantage
        value: Tensor = self.value(state)
        return value + advantage - advantage.mean(1, keepdim=True)

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """The same function as (weight [out, in], bias [out]) of plain layers with ReLU between.

        Both heads of a dueling network are linear in the last hidden layer, so they fold into one.
        """
        plain = [(layer.weight.detach(), layer.bias.detach()) for layer in self.hidden if isinstance(layer, nn.Linear)]
        weight, bias = self.advantage.weight.detach(), self.advantage.bias.detach()
        if self.value is not None:
            wide, offset = weight.double(), bias.double()
            weight = (wide - wide.mean(0, keepdim=True) + self.value.weight.detach().double()).float()
            bias = (offset - offset.mean() + self.value.bias.detach().double()).float()
        return [*plain, (weight, bias)]
