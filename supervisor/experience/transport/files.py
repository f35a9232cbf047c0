"""What kind of file something is, told by its first bytes and never by its name."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

from supervisor.errors import UsageError
from supervisor.experience.rows import Experiences
from supervisor.experience.transport.source import Source, SourceError
from supervisor.journal import durable

FORMATS = {"parquet": ".parquet", "arrow": ".arrow", "npz": ".npz", "minari": "-v0"}
"""By name, with how a file's name ends."""
MAGIC = {b"PAR1": "parquet", b"ARROW1": "arrow", b"PK\x03\x04": "npz", b"\xff\xff\xff\xff": "arrow_stream"}
NEEDED = "this format needs a package that is not installed: pip install 'incumbent[experience]'"


class Writer(Protocol):
    """Takes rows and writes a file of one target."""

    def write(self, rows: Experiences) -> None: ...

    def close(self) -> None: ...


def open_source(path: Path) -> Source:
    """The file, with its columns looked at and no row read. Raises SourceError where it is of no format that is known,
    UsageError where the package of its format is missing, OSError."""
    kind = "minari" if path.is_dir() else _kind(path)
    try:
        if kind == "npz":
            from supervisor.experience.transport.npzfile import NpzFile

            return NpzFile(path)
        if kind == "minari":
            from supervisor.experience.transport.minarifolder import MinariFolder

            return MinariFolder(path)
        from supervisor.experience.transport.arrowfile import TableFile

        return TableFile(path, kind)
    except ImportError as error:
        raise UsageError(f"{path}: {NEEDED}") from error


def _kind(path: Path) -> str:
    with path.open("rb") as stream:
        begin = stream.read(8)
    for magic, kind in MAGIC.items():
        if begin.startswith(magic):
            return kind
    raise SourceError("is neither Parquet nor Arrow IPC nor NPZ nor a Minari dataset's folder; convert it to one")


def open_writer(kind: str, path: Path, target: str) -> Writer:
    """A new file of a format. Raises UsageError where its package is missing."""
    try:
        if kind == "npz":
            from supervisor.experience.transport.npzfile import NpzWriter

            return NpzWriter(path, target)
        if kind == "minari":
            from supervisor.experience.transport.minarifolder import MinariWriter

            return MinariWriter(path, target)
        from supervisor.experience.transport.arrowfile import ArrowWriter, ParquetWriter

        return ParquetWriter(path, target) if kind == "parquet" else ArrowWriter(path, target)
    except ImportError as error:
        raise UsageError(f"--format {kind}: {NEEDED}") from error


def sha256_of(path: Path) -> str:
    """Of a file, or of a folder's files with their names."""
    if not path.is_dir():
        return durable.sha256_file(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = [f"{file.relative_to(path)} {durable.sha256_file(file)}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
