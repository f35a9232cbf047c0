"""How far a store's readers are behind."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

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
