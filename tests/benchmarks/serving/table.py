"""The figures of all sides, a line each, and how they are found again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.benchmarks.serving.floor import Floor
from tests.benchmarks.serving.generator import Met
from tests.benchmarks.serving.quiet import QUIET_CORES

GENERATOR_BUSY = 0.9  # of the time: from there on the server could do more than is measured
_TITLES = ("rows", "conns", "req/s", "of raw", "p50 ms", "p99 ms", "cpu us", "RSS MB", "failed", "others")
_WIDTHS = (5, 6, 9, 7, 8, 8, 8, 7, 7, 7)
_NAME_WIDTH = 26


def _line(name: str, cells: tuple[str, ...]) -> str:
    return f"{name:{_NAME_WIDTH}}" + "".join(f" {cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=False))


def heading() -> str:
    return _line("", _TITLES)


@dataclass(frozen=True)
class Row:
    """One measurement; `share` is of the raw loop's rate, for as many rows in a request."""

    side: str
    form: str
    rows: int
    connections: int
    per_s: float
    share: float
    p50_ms: float
    p99_ms: float
    cpu_us: float  # user and system time of all the server's processes, per request
    rss_mb: float
    failed: int
    others_cores: float  # taken by other programs meanwhile
    generator_busy: bool = False

    @classmethod
    def of(cls, side: str, form: str, rows: int, connections: int, met: Met, floor: Floor, rss_mb: float) -> Row:
        per_s = met.answered / met.seconds
        return cls(
            side=side,
            form=form,
            rows=rows,
            connections=connections,
            per_s=per_s,
            share=per_s / floor.per_s,
            p50_ms=met.p50_ms,
            p99_ms=met.p99_ms,
            cpu_us=1e6 * met.server_cpu_s / met.answered,
            rss_mb=rss_mb,
            failed=met.failed,
            others_cores=met.others_cores,
            generator_busy=met.own_cpu_s > GENERATOR_BUSY * met.seconds,
        )

    def __str__(self) -> str:
        cells = (
            f"{self.rows}",
            f"{self.connections}" if self.connections else "-",
            f"{self.per_s:.0f}{'*' if self.generator_busy else ' '}",
            f"{self.share:.3f}",
            f"{self.p50_ms:.3f}",
            f"{self.p99_ms:.2f}",
            f"{self.cpu_us:.1f}",
            f"{self.rss_mb:.0f}",
            f"{self.failed}",
            f"{self.others_cores:.2f}",
        )
        return _line(f"{self.side}, {self.form}" if self.form else self.side, cells)


@dataclass
class Table:
    """Prints what is added to it."""

    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        print(row, flush=True)

    def add_floor(self, floor: Floor) -> None:
        row = Row(
            side="session.run loop",
            form="",
            rows=floor.rows,
            connections=0,
            per_s=floor.per_s,
            share=1.0,
            p50_ms=floor.p50_ms,
            p99_ms=floor.p99_ms,
            cpu_us=floor.cpu_us,
            rss_mb=floor.rss_mb,
            failed=0,
            others_cores=floor.others_cores,
        )
        self.add(row)

    def disturbed(self) -> str:
        count = sum(row.others_cores > QUIET_CORES for row in self.rows)
        return f"others disturbed {count} of {len(self.rows)} measurements: what those say is too little, or too late"

    def find(self, side: str, form: str, rows: int, connections: int) -> Row | None:
        return next(self._having(side, form, rows, connections), None)

    def fastest(self, side: str, form: str, rows: int) -> Row | None:
        return max(self._having(side, form, rows), key=lambda row: row.per_s, default=None)

    def cheapest(self, side: str, rows: int, connections: int) -> Row | None:
        """The form that takes this side the least CPU."""
        found = (row for row in self.rows if (row.side, row.rows, row.connections) == (side, rows, connections))
        return min(found, key=lambda row: row.cpu_us, default=None)

    def _having(self, side: str, form: str, rows: int, connections: int | None = None) -> Iterator[Row]:
        for row in self.rows:
            if (row.side, row.form, row.rows) == (side, form, rows) and connections in (None, row.connections):
                yield row
