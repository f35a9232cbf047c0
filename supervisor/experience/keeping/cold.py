"""A day's rows as a Parquet file, and whether a file's rows are those of the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path

from supervisor.experience.caretaker import Caretaker, Span
from supervisor.experience.keeping.manifest import ColdFile, Event, Manifest
from supervisor.experience.rows import MICROSECONDS, Experiences
from supervisor.experience.transport.files import open_source, open_writer
from supervisor.experience.transport.source import SourceError, chunks
from supervisor.journal import durable


def written(folder: Path, manifest: Manifest, caretaker: Caretaker, span: Span) -> ColdFile | None:
    """The span's rows in a file that the manifest names, durably; None where there are none.

    A file of a killed attempt is written over: no line names it, so its rows are all in the store. Rows that were
    brought back from a file and leave again find it there, with the same bytes. Raises UsageError where pyarrow is
    missing, StoreDownError, OSError.
    """
    path = folder / manifest.free_name(span.target, day_name(span))
    durable.make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.tmp")
    writer, rows = open_writer("parquet", temporary, span.target), 0
    for block in caretaker.read(span):
        writer.write(block)
        rows += len(block)
    writer.close()
    sha256 = durable.sha256_file(temporary)
    known = next((file for file in manifest.files if file.sha256 == sha256 and _is_whole(folder, file)), None)
    if rows == 0 or known is not None:
        temporary.unlink()
    else:
        durable.publish(path, temporary)
    if rows == 0:
        return None
    name = known.file if known else str(path.relative_to(folder))
    file = ColdFile(name, span, rows, sha256)
    manifest.note(file, Event.WRITTEN)
    return file


def holds_the_rest(folder: Path, file: ColdFile, caretaker: Caretaker) -> bool:
    """Whether the file is what was written, and its last rows are bit for bit all that the store still has of the span.
    Rows leave in order, so after a kill those that are left are the last ones."""
    path = folder / file.file
    if not _is_whole(folder, file):
        return False
    left = sum(len(block) for block in caretaker.read(file.span))
    if left > file.rows:
        return False
    try:
        kept = open_source(path).blocks(0)
        pairs = zip_longest(chunks(caretaker.read(file.span)), chunks(_without(kept, file.rows - left)))
        return all(one is not None and other is not None and _same(one, other) for one, other in pairs)
    except SourceError:
        return False


def _is_whole(folder: Path, file: ColdFile) -> bool:
    path = folder / file.file
    return path.is_file() and durable.sha256_file(path) == file.sha256


def day_name(span: Span) -> str:
    return datetime.fromtimestamp(span.since_us // MICROSECONDS, UTC).strftime("%Y-%m-%d")


def _without(blocks: Iterable[Experiences], first: int) -> Iterator[Experiences]:
    for block in blocks:
        if first < len(block):
            yield block.where(slice(first, None))
        first = max(0, first - len(block))


def _same(one: Experiences, other: Experiences) -> bool:
    pairs = [(vars(one)[name], vars(other)[name]) for name in vars(one)]
    return all(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)
