"""A range of rows as short statements, and what they send as pages of the size asked for. No input or output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from psycopg import sql
from psycopg.abc import Buffer

from supervisor.experience.postgres.decoding import Rows, decoded, mixed
from supervisor.experience.postgres.named_sql import filled
from supervisor.experience.postgres.table import Table
from supervisor.experience.store import Page, Position, Selection

FIRST_ROWS = 1024
"""Asked for before it is known how wide a row is."""

STATEMENT_BYTES = 2**22
"""What a statement sends, about: enough that the way there and back does not count, little enough for the memory."""


class Paging:
    """`statement` is the next one to run, until it is None; `pages` takes what it sent. A position of the last page
    is all that is needed to go on elsewhere."""

    def __init__(self, table: Table, selection: Selection, after: Position, upto: Position, batch_rows: int) -> None:
        if batch_rows < 1:
            raise ValueError(f"pages of {batch_rows} rows; ask for at least 1")
        self._table = table
        self._chosen = table.chosen(selection)
        self._columns = table.selected()
        self._kinds = (table.states, table.next_states, table.controls)
        self._after, self._upto, self._batch_rows = after, upto, batch_rows
        self._asked = self._whole_batches(FIRST_ROWS)
        self._widths: tuple[int, int] | None = None

    def statement(self) -> sql.Composed | None:
        if self._after >= self._upto:
            return None
        return filled(
            "reading",
            "page",
            columns=self._columns,
            chosen=self._chosen,
            after=self._table.beyond(self._after, ">"),
            upto=self._table.beyond(self._upto, "<="),
            final=self._table.final(),
            order=self._table.order(),
            rows=sql.Literal(self._asked),
        )

    def pages(self, pieces: Sequence[Buffer]) -> Iterator[Page]:
        """Raises ValueError where states are not of one width."""
        data = b"".join(pieces)
        rows = decoded(data, self._kinds)
        if rows is None or len(rows) < self._asked:
            self._upto = self._after  # that was all
        if rows is None:
            return
        self._keep_to_one_width(rows)
        self._after = max(rows.last, self._after)
        self._asked = self._whole_batches(STATEMENT_BYTES * len(rows) // len(data))
        for begin in range(0, len(rows), self._batch_rows):
            yield _page(rows, begin, min(begin + self._batch_rows, len(rows)))

    def _whole_batches(self, rows: int) -> int:
        """So that only the last page of all is a short one."""
        return max(rows // self._batch_rows, 1) * self._batch_rows

    def _keep_to_one_width(self, rows: Rows) -> None:
        widths = rows.experiences.states.shape[1], rows.experiences.controls.shape[1]
        for what, before, now in zip(("states", "controls"), self._widths or widths, widths, strict=True):
            if before != now:
                raise mixed(what, sorted((before, now)))
        self._widths = widths


def _page(rows: Rows, begin: int, end: int) -> Page:
    return Page(rows.experiences.where(slice(begin, end)), Position(int(rows.txids[end - 1]), int(rows.ids[end - 1])))
