"""Which of a client's games count while a new version is watched: those that began after the swap, and of each client a
few.

Right after a swap only the shortest games of the new version have ended, and where short games are lost ones it would
look bad for that alone. So both sides count only what began after the swap: a client that asks within the first seconds
was in the midst of a game, whose outcome is left out; whoever is first heard of later began later. And clients are
drawn, not games: a few strong ones who play all day must not stand for the version they were given.
"""

from __future__ import annotations

from dataclasses import dataclass

MOST_CLIENTS = 100_000  # of one window; whoever comes later is not counted


@dataclass(slots=True)
class _Client:
    owes: bool  # the outcome of a game that began before the swap
    counted: int = 0


class Clients:
    """Of one window."""

    def __init__(self, grace_s: float, most_games: int) -> None:
        self._grace_s, self._most_games = grace_s, most_games
        self._known: dict[bytes, _Client] = {}

    def asked(self, key: bytes, open_for_s: float) -> None:
        """A request of this client, so long after the window opened."""
        if key not in self._known and len(self._known) < MOST_CLIENTS:
            self._known[key] = _Client(owes=open_for_s < self._grace_s)

    def counts(self, key: bytes) -> bool:
        """Whether the client's outcome that has just come is to be counted."""
        client = self._known.get(key)
        if client is None:
            return False
        if client.owes:
            client.owes = False
            return False
        client.counted += 1
        return client.counted <= self._most_games
