"""Reading on in recorded play, from wherever an earlier process stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from supervisor.experience.rows import Experiences
from supervisor.experience.store import Page, Position
from trainers.algorithms.from_play.plan import Pages


class Reading:
    """The rows after a position, some at a time; how the store cuts its pages makes no difference.

    A place is the last position that a page ended with, and how many rows behind it were taken: rows have no positions
    of their own.
    """

    def __init__(self, pages: Pages, since: Position) -> None:
        self._pages = pages
        self._open_at(since, 0)

    def _open_at(self, position: Position, skipped: int) -> None:
        self._position = position
        self._taken = skipped  # rows behind the position
        self._skip = skipped  # of the rows that the stream is about to give
        self._stream: Iterator[Page] | None = None
        self._page: Page | None = None
        self._used = 0  # rows of the page
        self.ended = False

    def take(self, most: int) -> Experiences | None:
        """The next rows, at least one and at most so many; None at the end."""
        page = self._current()
        if page is None:
            self.ended = True
            return None
        begin = self._used
        self._used = min(len(page.rows), begin + most)
        self._taken += self._used - begin
        rows = page.rows.where(slice(begin, self._used))
        if self._used == len(page.rows):
            self._position, self._taken, self._page = page.last, 0, None
        return rows

    def _current(self) -> Page | None:
        """The page with the next row."""
        if self._stream is None:
            self._stream = self._pages(self._position)
        while self._page is None:
            page = next(self._stream, None)
            if page is None:
                return None
            self._used = min(self._skip, len(page.rows))
            self._skip -= self._used
            if self._used < len(page.rows):
                self._page = page
            else:
                self._position, self._taken = page.last, self._skip
        return self._page

    def state(self) -> dict[str, object]:
        return {"txid": self._position.txid, "id": self._position.id, "taken": self._taken, "ended": self.ended}

    def load_state(self, saved: Mapping[str, object]) -> None:
        """Go on from `state()`."""
        place = cast(Mapping[str, int], saved)
        self._open_at(Position(place["txid"], place["id"]), place["taken"])
        self.ended = bool(place["ended"])
