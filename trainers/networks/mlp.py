"""The Q-network: a stack of linear layers, with one head or the two of a dueling network (Wang et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from trainers.learner import Exported

Weights = Mapping[str, Tensor]
"""A network's `state_dict`."""


class QModel(nn.Module):
    """What Double DQN asks of its network besides values for observations."""

    def adopt(self, weights: Weights) -> bool:
        """Copy every tensor that fits; True if all of them came."""
        raise NotImplementedError

    def exported(self) -> Exported:
        """The network as it answers in production."""
        raise NotImplementedError


class QNetwork(QModel):
    """state [batch, inputs] float32 -> Q-values [batch, outputs] float32.

    Dueling: Q = V + A - mean(A). Dropout stands behind every hidden layer and only acts in training mode.
    """

    def __init__(
        self, inputs: int, hidden: Sequence[int], outputs: int, dueling: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.inputs, self.hidden_widths = inputs, tuple(hidden)
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

    def exported(self) -> Exported:
        """The same function as plain layers with ReLU between: a dueling network's heads are folded into one."""
        plain = QNetwork(self.inputs, self.hidden_widths, self.advantage.out_features)
        plain.load_state_dict(with_one_head(self.state_dict()))
        return Exported(plain.eval(), {"state": (self.inputs,)}, {"q_values": (self.advantage.out_features,)})

    def adopt(self, weights: Weights) -> bool:
        """Copy every tensor that fits, from a network with another kind of head too; True if all of them came."""
        own = self.state_dict()
        given = with_one_head(weights) if self.value is None else with_two_heads(weights)
        fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
        self.load_state_dict({**own, **fitting})
        return len(fitting) == len(own)


def with_one_head(weights: Weights) -> Weights:
    """The same function without a value head: both heads are linear in the last hidden layer, so they fold."""
    if "value.weight" not in weights:
        return weights
    folded = {name: tensor for name, tensor in weights.items() if not name.startswith("value.")}
    for part in ("weight", "bias"):
        advantage, value = weights[f"advantage.{part}"].double(), weights[f"value.{part}"].double()
        folded[f"advantage.{part}"] = (advantage - advantage.mean(0, keepdim=True) + value).float()
    return folded


def with_two_heads(weights: Weights) -> Weights:
    """The same function with a value head, which takes what the advantages have in common."""
    if "value.weight" in weights:
        return weights
    means = {f"value.{part}": weights[f"advantage.{part}"].mean(0, keepdim=True) for part in ("weight", "bias")}
    return {**weights, **means}
