"""A range of rows as short statements, and what they send as pages of the size asked for. No input or output."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from supervisor.experience.postgres.decoding import Rows, decoded, mixed
from supervisor.experience.postgres.named_sql import filled
from supervisor.experience.postgres.table import Table
from supervisor.experience.rows import Experiences
from supervisor.experience.store import Page, Position, Selection

FIRST_ROWS = 1024
"""Asked for before it is known how wide a row is."""

STATEMENT_BYTES = 2**23
"""What a statement sends, about: enough that the way there and back does not count, little enough for the memory."""

CHUNK_BYTES = 2**19
"""So much is made columns of while the server sends the next: the processor's own memory holds it."""


class Paging:
    """`statement` is the next one to run, until it is None; `take` gets the rows that it sends, and `pages` hands out
    what they were. A position of the last page is all that is needed to go on elsewhere."""

    def __init__(self, table: Table, selection: Selection, after: Position, upto: Position, batch_rows: int) -> None:
        if batch_rows < 1:
            raise ValueError(f"pages of {batch_rows} rows; ask for at least 1")
        self._table = table
        self._chosen = table.chosen(selection)
        self._columns = table.selected()
        self._kinds = (table.states, table.next_states, table.controls)
        self._after, self._upto, self._batch_rows = after, upto, batch_rows
        self._asked = self._whole_batches(FIRST_ROWS)
        self.rows_at_once = self._asked
        self._came: list[Rows] = []
        self._came_bytes = 0
        self._refusal: ValueError | None = None
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

    def take(self, body: bytearray) -> None:
        """Whole rows; `rows_at_once` of them but for the last of a statement."""
        if self._refusal is not None:
            return
        try:
            rows = decoded(body, self._kinds)
            self._keep_to_one_width(rows)
        except ValueError as error:
            self._refusal = error  # told once the server has sent all: until then it hears nothing else
        else:
            self._came.append(rows)
            self._came_bytes += len(body)

    def pages(self) -> Iterator[Page]:
        """Once the statement has ended. Raises ValueError where states are not of one width."""
        came, self._came = self._came, []
        count = sum(map(len, came))
        for rows in came:
            self._after = rows.last
            for begin in range(0, len(rows), self._batch_rows):
                yield _page(rows, begin, min(begin + self._batch_rows, len(rows)))
        if self._refusal is not None:
            raise self._refusal
        if count < self._asked:
            self._upto = self._after  # that was all
        if count:
            row_bytes = self._came_bytes / count
            self.rows_at_once = self._whole_batches(int(CHUNK_BYTES / row_bytes))
            chunks = max(int(STATEMENT_BYTES / row_bytes) // self.rows_at_once, 1)
            self._asked = chunks * self.rows_at_once
            self._came_bytes = 0

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
    columns = {name: column[begin:end] for name, column in vars(rows.experiences).items()}
    return Page(Experiences(**columns), Position(int(rows.txids[end - 1]), int(rows.ids[end - 1])))
