"""Transformer-XL (Dai et al. 2019): segments that remember what went before, and positions told by distance.

Each layer attends to its own inputs of the last `memory` ticks, which are carried from segment to segment without a
gradient. A tick sees no further back than its memory reaches and than its fight's first tick, wherever in a segment it
stands: so one tick at a time and a segment at once are the same function. Written out in matrix products of constant
sizes, with normalisation before each part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True)
class Shape:
    """Sizes of the network."""

    inputs: int
    choices: int
    layers: int
    width: int
    heads: int
    memory: int  # ticks that a layer remembers


class RelativeAttention(nn.Module):
    """Section 3.3 of the paper: score(i, k) = (q_i + u) . W_E h_k + (q_i + v) . W_R R_(i-k)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape, self.size = shape, shape.width // shape.heads
        self.query = nn.Linear(shape.width, shape.width)
        self.key_value = nn.Linear(shape.width, 2 * shape.width)
        self.out = nn.Linear(shape.width, shape.width)
        self.relative = nn.Linear(shape.width, shape.width, bias=False)  # W_R
        self.u = nn.Parameter(torch.zeros(shape.heads, 1, self.size))
        self.v = nn.Parameter(torch.zeros(shape.heads, 1, self.size))
        self.register_buffer("distances", _sinusoids(shape.memory, shape.width), persistent=False)

    def forward(self, x: Tensor, context: Tensor, hidden: Tensor, ticks: int) -> Tensor:
        """x [batch, ticks, width] attends to context [batch, memory + ticks, width] less what `hidden` takes."""
        reach, heads = self.shape.memory + ticks, self.shape.heads
        q = self.query(x).reshape(-1, ticks, heads, self.size).permute(0, 2, 1, 3)
        parts = self.key_value(context).reshape(-1, reach, 2, heads, self.size).permute(2, 0, 3, 1, 4)
        R = self.relative(self.distances).reshape(self.shape.memory + 1, heads, self.size).permute(1, 2, 0)
        content = torch.matmul(q + self.u, parts[0].transpose(-2, -1))
        place = _aligned(torch.matmul(q + self.v, R), ticks, self.shape)
        share = torch.softmax((content + place) / math.sqrt(self.size) + hidden, -1)
        seen = torch.matmul(share, parts[1])
        joined: Tensor = self.out(seen.permute(0, 2, 1, 3).reshape(-1, ticks, self.shape.width))
        return joined


class Layer(nn.Module):
    """x + attention, then x + a perceptron four times as wide."""

    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.norm_1, self.norm_2 = nn.LayerNorm(shape.width), nn.LayerNorm(shape.width)
        self.attention = RelativeAttention(shape)
        self.inner, self.outer = nn.Linear(shape.width, 4 * shape.width), nn.Linear(4 * shape.width, shape.width)

    def forward(self, x: Tensor, memory: Tensor, hidden: Tensor, ticks: int) -> Tensor:
        own = self.norm_1(x)
        x = x + self._drop(self.attention(own, torch.cat([self.norm_1(memory), own], 1), hidden, ticks))
        return x + self._drop(self.outer(torch.relu(self.inner(self.norm_2(x)))))

    def _drop(self, x: Tensor) -> Tensor:
        return torch.dropout(x, self.dropout, train=True) if self.dropout and self.training else x


class TransformerXL(nn.Module):
    """observations [batch, ticks, inputs], ages [batch, ticks], memory -> logits [batch, ticks, choices], new memory.

    `ages` says how many ticks each tick's fight is old; memory [batch, layers, memory, width] is every layer's inputs
    of the last ticks, whatever fight they were of: ages hide what is not this one's.
    """

    def __init__(self, shape: Shape, dropout: float = 0.0, checkpointing: bool = False) -> None:
        super().__init__()
        self.shape, self.checkpointing = shape, checkpointing
        self.token = nn.Linear(shape.inputs, shape.width)
        self.layers = nn.ModuleList([Layer(shape, dropout) for _ in range(shape.layers)])
        self.norm = nn.LayerNorm(shape.width)
        self.logits = nn.Linear(shape.width, shape.choices)

    def forward(self, observations: Tensor, ages: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        return self.segment(observations, ages, memory, observations.shape[1])

    def segment(self, observations: Tensor, ages: Tensor, memory: Tensor, ticks: int) -> tuple[Tensor, Tensor]:
        """`forward` with the number of ticks as a constant, which an exporter needs."""
        reach = self.shape.memory
        back = _distances(ticks, reach)
        if back.device != observations.device:  # an exporter would write down the step even where it does nothing
            back = back.to(observations.device)
        reached = (back >= 0) & (back <= reach) & (back <= ages[:, :, None])
        hidden = torch.where(reached, 0.0, -1e9)[:, None]
        x = self.token(observations)
        kept = []
        for number, layer in enumerate(self.layers):
            before = memory[:, number]
            kept.append(torch.cat([before, x.detach()], 1)[:, ticks:])
            if self.checkpointing and self.training:
                x = cast(Tensor, checkpoint(layer, x, before, hidden, ticks, use_reentrant=False))
            else:
                x = layer(x, before, hidden, ticks)
        return self.logits(self.norm(x)), torch.stack(kept, 1)

    def empty_memory(self, rows: int) -> Tensor:
        return torch.zeros(rows, *self.memory_shape)

    @property
    def memory_shape(self) -> tuple[int, int, int]:
        return self.shape.layers, self.shape.memory, self.shape.width


class OneTick(nn.Module):
    """The network as it leaves for production: one tick, with its memory in and out, and how much of it is in use."""

    def __init__(self, network: TransformerXL) -> None:
        super().__init__()
        self.network = network

    def forward(self, observation: Tensor, memory_in: Tensor, ticks_in: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        shape = self.network.shape
        logits, memory = self.network.segment(observation.reshape(-1, 1, shape.inputs), ticks_in, memory_in, 1)
        ticks = torch.clamp(ticks_in + 1.0, max=float(shape.memory))
        return logits.reshape(-1, shape.choices), memory, ticks


def _sinusoids(furthest: int, width: int) -> Tensor:
    """R of the paper for distances furthest, ..., 1, 0, the order of the keys a tick sees: (furthest + 1, width)."""
    frequency = 10000.0 ** (-torch.arange(0, width, 2) / width)
    angle = torch.arange(furthest, -1, -1)[:, None] * frequency
    return torch.cat([torch.sin(angle), torch.cos(angle)], 1)[:, :width]


def _distances(ticks: int, memory: int) -> Tensor:
    """How far key k lies behind tick i, (ticks, memory + ticks); below 0 is ahead of it."""
    return (torch.arange(ticks)[:, None] + memory - torch.arange(memory + ticks)).float()


def _aligned(by_distance: Tensor, ticks: int, shape: Shape) -> Tensor:
    """From scores by distance [.., ticks, memory + 1] to scores by key [.., ticks, memory + ticks], 0 out of reach.

    Row i is moved i keys to the right: a row longer by one, read as rows of the length wanted, does just that.
    """
    if ticks == 1:
        return by_distance
    reach = shape.memory + ticks
    rows = nn.functional.pad(by_distance, (0, ticks)).reshape(-1, shape.heads, ticks * (reach + 1))
    return rows[:, :, : ticks * reach].reshape(-1, shape.heads, ticks, reach)
