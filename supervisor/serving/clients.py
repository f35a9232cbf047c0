"""Which of a client's games count while a new version is watched: those that end when the swap is some time ago, and of
each client a few.

Right after a swap only the shortest games of the new version have ended, and where short games are lost ones it would
look bad for that alone; once the longest game that began before is over, what ends on either side is as it always is.
And clients are drawn, not games: a few strong ones who play all day must not stand for the version they were given.
"""

from __future__ import annotations

from collections import Counter

MOST_CLIENTS = 100_000  # of one window; whoever comes later is not counted


class Clients:
    """Of one window."""

    def __init__(self, settle_s: float, most_games: int) -> None:
        self._settle_s, self._most_games = settle_s, most_games
        self._counted: Counter[bytes] = Counter()

    def counts(self, key: bytes, open_for_s: float) -> bool:
        """Whether an outcome of this client that has come so long after the swap is to be counted."""
        if open_for_s < self._settle_s or (key not in self._counted and len(self._counted) >= MOST_CLIENTS):
            return False
        self._counted[key] += 1
        return self._counted[key] <= self._most_games
