"""How far a store's readers are behind."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from supervisor.experience.caretaker import DAY_US, HOUR_US
from supervisor.experience.finding import Finding, Severity
from supervisor.experience.store import ExperienceStore, Reader, Selection


@dataclass(frozen=True)
class Lag:
    """`rows` are stored and not read; `oldest_us` is when the first of them was played, None where it is not known."""

    reader: Reader
    rows: int
    oldest_us: int | None


def lags(store: ExperienceStore) -> list[Lag]:
    """Of every reader, in the order of `readers`. Raises StoreDownError."""
    return [_lag(store, reader) for reader in store.readers()]


def _lag(store: ExperienceStore, reader: Reader) -> Lag:
    selection = Selection(reader.target)
    newest = store.newest(selection)
    if newest is None or newest <= reader.position:
        return Lag(reader, 0, None)
    oldest = None
    with contextlib.suppress(ValueError):  # rows of mixed widths: the doctor names them
        for page in store.stream(selection, reader.position, newest, batch_rows=1):
            oldest = int(page.rows.times[0])
            break
    return Lag(reader, store.count(selection, reader.position, newest), oldest)


def lag_finding(lag: Lag, now_us: int) -> Finding:
    """Unread for a day is wrong: rows are kept for it, and a training looks back a few days only."""
    reader, seen_h = lag.reader, (now_us - lag.reader.seen_us) / HOUR_US
    what = f"{reader.name} has {lag.rows} rows of {reader.target} unread; it was seen {seen_h:.1f} hours ago"
    if lag.oldest_us is None or now_us - lag.oldest_us <= DAY_US:
        return Finding("lag", what, severity=Severity.OK if lag.rows == 0 else Severity.NOTE)
    what += f", the oldest of them is of {(now_us - lag.oldest_us) / DAY_US:.1f} days ago: they are kept for it"
    return Finding("lag", what, "start its run again (incumbent run); one not seen for 30 days is not waited for")
