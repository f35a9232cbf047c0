"""A transformer encoder (Vaswani et al. 2017) with normalisation before each part (Xiong et al. 2020), written out.

Attention is plain matrix products with constant sizes, so that a tracing exporter leaves only the batch free.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Attention(nn.Module):
    """Every token looks at every token: [batch, tokens, width] -> the same."""

    def __init__(self, tokens: int, width: int, heads: int) -> None:
        super().__init__()
        self.tokens, self.width, self.heads = tokens, width, heads
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        size = self.width // self.heads
        parts = self.project(x).reshape(-1, self.tokens, 3, self.heads, size).permute(2, 0, 3, 1, 4)
        q, k, v = parts[0], parts[1], parts[2]
        scores = torch.matmul(q, k.transpose(-2, -1)) / math.sqrt(size)
        seen = torch.matmul(torch.softmax(scores, -1), v)
        joined: Tensor = self.out(seen.permute(0, 2, 1, 3).reshape(-1, self.tokens, self.width))
        return joined


class Block(nn.Module):
    """x + attention, then x + a perceptron four times as wide."""

    def __init__(self, tokens: int, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(tokens, width, heads)
        self.inner, self.outer = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._drop(self.attention(self.norm_1(x)))
        return x + self._drop(self.outer(torch.relu(self.inner(self.norm_2(x)))))

    def _drop(self, x: Tensor) -> Tensor:
        return torch.dropout(x, self.dropout, train=True) if self.dropout and self.training else x


class Encoder(nn.Module):
    """Blocks one after the other and a last normalisation: [batch, tokens, width] -> the same.

    With `checkpointing` a block's inner values are computed again for the gradient instead of being kept.
    """

    def __init__(
        self, tokens: int, width: int, layers: int, heads: int, dropout: float = 0.0, checkpointing: bool = False
    ) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        self.position = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.blocks = nn.ModuleList([Block(tokens, width, heads, dropout) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.position
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.checkpointing and self.training else block(x)
        y: Tensor = self.norm(x)
        return y


class WindowEncoder(nn.Module):
    """window [batch, ticks, inputs] -> logits [batch, classes], embedding [batch, embedding] of length 1."""

    def __init__(self, inputs: int, classes: int, embedding: int, width: int, encoder: Encoder) -> None:
        super().__init__()
        self.token = nn.Linear(inputs, width)
        self.encoder = encoder
        self.classify = nn.Linear(width, classes)
        self.project = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, embedding))

    def forward(self, window: Tensor) -> tuple[Tensor, Tensor]:
        summary = self.encoder(self.token(window)).mean(1)
        z = self.project(summary)
        return self.classify(summary), z / torch.sqrt((z * z).sum(1, keepdim=True) + 1e-12)
