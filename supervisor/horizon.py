"""Where in a store the rows begin that are young enough to learn from: a look never walks over older ones twice."""

from __future__ import annotations

from supervisor.experience.store import BEGINNING, ExperienceStore, Position, Selection

CHUNK_ROWS = 250_000
"""Rows that one statement walks over, at most."""


class Horizon:
    """Of one run's looks. What it remembers it can find again: it costs a walk over all rows."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[int, Position]] = {}

    def of(self, store: ExperienceStore, target: str, newest: Position, since_us: int) -> Position:
        """A position up to which all rows of the target are from before that time, and after which the next one is not.

        `newest` is the store's last row of the target. Rows before a position told never come, so what was old enough
        stays so, as long as the clock goes on.
        """
        key = store.identity, target
        known_us, place = self._known.get(key, (since_us, BEGINNING))
        if known_us > since_us or place > newest:  # the clock went back, or the store is another
            place = BEGINNING
        young = Selection(target, since_us=since_us)
        while place < newest:
            end = store.nth(Selection(target), place, newest, CHUNK_ROWS) or newest
            first = store.nth(young, place, end, 1)
            place = end if first is None else Position(first.txid, first.id - 1)
            self._known[key] = since_us, place
            if first is not None:
                break
        return place
