"""Scores of one version's games."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Tally:
    """A score is 1 for a game won, 0 for one lost, and between them for a draw."""

    n: int = 0
    total: float = 0.0

    def add(self, score: float) -> None:
        self.n += 1
        self.total += score

    @property
    def mean(self) -> float | None:
        return self.total / self.n if self.n else None
