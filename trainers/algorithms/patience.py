"""Early stopping by absolute step: so many looks at a training, and an end once too many of them saw no progress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

LOOKS = 50
"""Evenly spaced over the budget."""


class Patience:
    """Ends a training of `steps` after `patience` looks in a row without a new best; 0 never does."""

    def __init__(self, patience: int, steps: int) -> None:
        self._patience, self._steps = patience, max(1, steps)
        self._best = -float("inf")
        self._look = self._in_vain = 0

    @property
    def exhausted(self) -> bool:
        return 0 < self._patience <= self._in_vain

    def note(self, done: int, value: float) -> None:
        """`value`, the larger the better, after `done` steps; it is looked at when a look is due."""
        look = done * LOOKS // self._steps
        if look == self._look:
            return
        self._look = look
        self._in_vain = 0 if value > self._best else self._in_vain + 1
        self._best = max(self._best, value)

    def state(self) -> dict[str, object]:
        return {"best": self._best, "look": self._look, "in_vain": self._in_vain}

    def load_state(self, saved: Mapping[str, object]) -> None:
        self._best = float(cast(float, saved["best"]))
        self._look, self._in_vain = cast(int, saved["look"]), cast(int, saved["in_vain"])
