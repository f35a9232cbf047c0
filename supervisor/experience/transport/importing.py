"""Files into a store: looked at whole before the first row is stored, then a chunk at a time.

Every chunk is a parcel that is named by the file's sha256 and the chunk's number: an import that was killed and is run
again stores the rest, and nothing twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from supervisor.experience.rows import Experiences
from supervisor.experience.store import ExperienceStore, Parcel
from supervisor.experience.transport.checking import CURE, Fault, faults_of, refused
from supervisor.experience.transport.files import open_source, sha256_of
from supervisor.experience.transport.source import Source, SourceError, chunks

CLIENT = "import"
TOLD_FAULTS = 10


@dataclass(frozen=True)
class Checked:
    """A file that can be imported."""

    path: Path
    source: Source
    target: str
    rows: int


@dataclass(frozen=True)
class Imported:
    """What became of a file's rows. Those of chunks that were stored by an import before are `repeated`."""

    path: Path
    target: str
    rows: int
    repeated: int
    quarantined: int


def checked(path: Path, target: str | None, time_us: int, quarantine: bool) -> tuple[Checked | None, list[str]]:
    """The file with every row looked at, or every mistake found, each `file: what; what to do`. With `quarantine` bad
    rows are no mistakes. Raises UsageError, OSError."""
    try:
        source = open_source(path)
        mistakes = source.mistakes()
        named = target or source.target
        if named is None or not _is_target(named):
            said = "does not say of which target it is" if named is None else f"is of {named!r}, which is no target"
            mistakes.append(f"{said}; give --target archetype/model_type")
        if mistakes or named is None:
            return None, [f"{path}: {mistake}" for mistake in mistakes]
        rows, found = _look(source, time_us, quarantine)
    except SourceError as error:
        return None, [f"{path}: {error}"]
    if found:
        return None, [f"{path}: {mistake}" for mistake in found]
    return Checked(path, source, named, rows), []


def _look(source: Source, time_us: int, quarantine: bool) -> tuple[int, list[str]]:
    """How many rows there are, and what is told of the bad ones."""
    rows, bad = 0, 0
    told: list[str] = []
    for chunk in chunks(source.blocks(time_us)):
        faults = [] if quarantine else faults_of(chunk)
        bad += len(faults)
        told += [f"row {rows + fault.row}: {fault.detail}; {CURE}" for fault in faults[: TOLD_FAULTS - len(told)]]
        rows += len(chunk)
    if bad > len(told):
        told.append(f"{bad - len(told)} more rows are no experiences (rows count from 0)")
    return rows, told


def _is_target(name: str) -> bool:
    archetype, slash, model_type = name.partition("/")
    return bool(archetype and slash and model_type) and "/" not in model_type and name.isprintable() and " " not in name


def imported(store: ExperienceStore, file: Checked, time_us: int) -> Imported:
    """Its rows, stored. Raises StoreDownError, SourceError where the file has changed meanwhile."""
    name, rows, repeated, quarantined = sha256_of(file.path), 0, 0, 0
    for number, chunk in enumerate(chunks(file.source.blocks(time_us))):
        parcel = _parcel(file.target, chunk, f"{name}:{file.target}:{number}")
        [stored] = store.write([parcel])
        rows += stored.rows
        quarantined += stored.quarantined
        repeated += stored.rows if stored.repeated else 0
    return Imported(file.path, file.target, rows, repeated, quarantined)


def _parcel(target: str, chunk: Experiences, key: str) -> Parcel:
    faults: Sequence[Fault] = faults_of(chunk)
    good = np.ones(len(chunk), np.bool_)
    good[[fault.row for fault in faults]] = False
    kept = chunk if not faults else chunk.where(good)
    named = [(target, kept)] if len(kept) else []
    return Parcel(named, [refused(target, chunk, fault) for fault in faults], CLIENT, key)
