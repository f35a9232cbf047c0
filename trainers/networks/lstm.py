"""Recurrent actors: LSTM layers (Hochreiter and Schmidhuber 1997) whose state goes in and out with every step.

The cell is written out in linear layers: it is exported as a graph without a loop, its state being an input and an
output, and what a training unrolls over time is the very same function.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trainers.networks.layers import linear

FORGET_BIAS = 1.0
"""Added where training begins, so that a cell remembers unless it learns not to."""


BARRED = -1e4


class LstmLayer(nn.Module):
    """i, f, g, o = x W + h U + b; c' = sigma(f) c + sigma(i) tanh(g); h' = sigma(o) tanh(c')."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.of_input = linear(inputs, 4 * width, 1.0)
        self.of_state = nn.Linear(width, 4 * width, bias=False)
        nn.init.orthogonal_(self.of_state.weight)
        nn.init.constant_(self.of_input.bias[width : 2 * width], FORGET_BIAS)

    def follow(self, gates: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """One step from `gates` = x W + b, [batch, 4 width], and the state, [batch, width] each."""
        i, f, g, o = (gates + self.of_state(h)).split(self.width, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class RecurrentActor(nn.Module):
    """observation [batch, inputs], h and c [batch, layers, width] -> logits [batch, choices], next h and c.

    `bars` names, for choices that are not always open, the input that is above 0 while they are not: their logit is
    then `BARRED`.
    """

    def __init__(self, inputs: int, layers: int, width: int, choices: int, bars: Mapping[int, int]) -> None:
        super().__init__()
        self.bars: Tensor
        self.barred: Tensor
        self.register_buffer("bars", torch.zeros(inputs, choices), persistent=False)
        for choice, column in bars.items():
            self.bars[column, choice] = 1.0
        self.register_buffer("barred", torch.tensor(BARRED), persistent=False)
        self.layers, self.width = layers, width
        self.encoder = linear(inputs, width, 2**0.5)
        self.cells = nn.ModuleList([LstmLayer(width, width) for _ in range(layers)])
        self.head = linear(width, choices, 0.01)

    def forward(self, observation: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = torch.relu(self.encoder(observation))
        hs, cs = [], []
        for number, cell in enumerate(self.cells):
            assert isinstance(cell, LstmLayer)
            x, kept = cell.follow(cell.of_input(x), h[:, number], c[:, number])
            hs.append(x)
            cs.append(kept)
        return self._open(self.head(x), observation), torch.stack(hs, 1), torch.stack(cs, 1)

    def _open(self, logits: Tensor, observation: Tensor) -> Tensor:
        return torch.where(observation @ self.bars > 0, self.barred, logits)

    def unroll(self, observations: Tensor, h: Tensor, c: Tensor, goes_on: Tensor) -> Tensor:
        """Logits [time, batch, choices] of [time, batch, inputs], from the state before the first step.

        `goes_on` [time, batch] is 0 where an episode begins: the state is forgotten there.
        """
        time, batch, inputs = observations.shape
        x = torch.relu(self.encoder(observations.reshape(time * batch, inputs)))
        keep = goes_on[:, :, None].unbind(0)
        for number, cell in enumerate(self.cells):
            assert isinstance(cell, LstmLayer)
            gates = cell.of_input(x).view(time, batch, 4 * self.width).unbind(0)
            h_t, c_t, outputs = h[:, number], c[:, number], []
            for t in range(time):
                h_t, c_t = cell.follow(gates[t], h_t * keep[t], c_t * keep[t])
                outputs.append(h_t)
            x = torch.cat(outputs)
        logits = self._open(self.head(x), observations.reshape(time * batch, inputs))
        return logits.view(time, batch, -1)


class JointCritic(nn.Module):
    """What a member's situation is worth, given what it sees [fights, pack, inputs] and all there is [fights, joint].

    Used in training only (centralized training, decentralized execution). -> [fights, pack]
    """

    def __init__(self, inputs: int, joint: int, width: int) -> None:
        super().__init__()
        self.of_member = linear(inputs, width, 1.0)
        self.of_fight = linear(joint, width, 1.0)
        self.hidden = linear(width, width, 2**0.5)
        self.value = linear(width, 1, 1.0)

    def forward(self, observation: Tensor, joint: Tensor) -> Tensor:
        x = torch.relu(self.of_member(observation) + self.of_fight(joint)[:, None])
        value: Tensor = self.value(torch.relu(self.hidden(x)))
        return value[:, :, 0]
