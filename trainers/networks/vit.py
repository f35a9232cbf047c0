"""A vision transformer (Dosovitskiy et al. 2021): a map cut into patches, each a token, beside a token of numbers.

The numbers' token takes the place of the paper's class token: what it has gathered in the end is the answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainers.networks.encoder import Encoder


@dataclass(frozen=True)
class Picture:
    """What the network is shown and how it cuts it."""

    planes: int
    side: int
    patch: int
    scalars: int

    @property
    def patches(self) -> int:
        return (self.side // self.patch) ** 2


class VisionTransformer(nn.Module):
    """grid [batch, planes, side, side], state [batch, scalars] -> logits [batch, choices]."""

    def __init__(
        self,
        picture: Picture,
        choices: int,
        width: int,
        layers: int,
        heads: int,
        dropout: float = 0.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.picture, self.width = picture, width
        self.patch = nn.Linear(picture.planes * picture.patch**2, width)
        self.number = nn.Linear(picture.scalars, width)
        self.encoder = Encoder(picture.patches + 1, width, layers, heads, dropout, checkpointing)
        self.logits = nn.Linear(width, choices)

    def forward(self, grid: Tensor, state: Tensor) -> Tensor:
        p = self.picture
        across = p.side // p.patch
        cut = grid.reshape(-1, p.planes, across, p.patch, across, p.patch).permute(0, 2, 4, 1, 3, 5)
        patches = self.patch(cut.reshape(-1, p.patches, p.planes * p.patch**2))
        tokens = torch.cat([self.number(state).reshape(-1, 1, self.width), patches], 1)
        answer: Tensor = self.logits(self.encoder(tokens)[:, 0])
        return answer
