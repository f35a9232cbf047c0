"""What several networks are built of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

Weights = Mapping[str, Tensor]
"""A network's `state_dict`."""


def widths(text: str) -> tuple[int, ...]:
    """ "128,128" as (128, 128), "" as (); ValueError for anything else."""
    if not re.fullmatch(r"([1-9]\d*(,[1-9]\d*)*)?", text):
        raise ValueError(f'must be widths like "128,128", not {text!r}')
    return tuple(int(width) for width in text.split(",")) if text else ()


def linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    """A layer with orthogonal weights of that gain and no bias yet."""
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


class Stack(nn.Module):
    """Linear layers with ReLU behind each: [batch, inputs] -> [batch, the last width]; none leave the data as it is."""

    def __init__(self, inputs: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList([linear(a, b, 2**0.5) for a, b in pairwise([inputs, *hidden])])
        self.outputs = [inputs, *hidden][-1]

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x


def adopt(network: nn.Module, weights: Weights) -> bool:
    """Copy every tensor that fits; True if all of them came."""
    own = network.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    network.load_state_dict({**own, **fitting})
    return len(fitting) == len(own)
