"""NumPy's NPZ, read and written a piece at a time; what `incumbent collect` writes is one."""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from supervisor.experience.rows import Experiences
from supervisor.experience.transport.source import (
    CHUNK_ROWS,
    OPTIONAL,
    REQUIRED,
    Column,
    SourceError,
    column_mistakes,
    experiences_of,
)

TARGET = "target"
NAMES = (*REQUIRED, *OPTIONAL)
COPY_BYTES = 1 << 20
Header = tuple[tuple[int, ...], bool, np.dtype[Any]]


class NpzFile:
    """A Source. Raises SourceError where the file is no archive of arrays."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._headers: dict[str, Header] = {}
        self._target: str | None = None
        with self._open() as archive:
            for name in archive.namelist():
                if name.endswith(".npy"):
                    with archive.open(name) as member:
                        self._headers[name[:-4]] = _header(member, name[:-4])
            if TARGET in self._headers and self._headers[TARGET][2].kind == "U":
                with archive.open(f"{TARGET}.npy") as member:
                    self._target = str(np.lib.format.read_array(member, allow_pickle=False))

    @property
    def target(self) -> str | None:
        return self._target

    def mistakes(self) -> list[str]:
        columns = {
            name: Column(name, kind.kind, 8 * kind.itemsize, len(shape) == 2, f"{kind.name} of shape {shape}")
            for name, (shape, _, kind) in self._headers.items()
            if name != TARGET
        }
        found = column_mistakes(columns)
        there = [name for name in NAMES if name in columns]
        for name in there:
            shape, by_column, _ = self._headers[name]
            if by_column and len(shape) > 1:
                found.append(f"the array {name} is stored column by column; save numpy.ascontiguousarray of it")
        counts = {name: self._headers[name][0][:1] for name in there}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{name} {count[0] if count else 'none'}" for name, count in counts.items())
            found.append(f"the arrays have unequal numbers of rows ({told}); cut them to one length")
        if not found and self._headers["states"][0] != self._headers["next_states"][0]:
            found.append("states and next_states have unequal widths; give equal ones")
        return found

    def blocks(self, time_us: int) -> Iterator[Experiences]:
        there = [name for name in NAMES if name in self._headers]
        left = self._headers["rewards"][0][0]
        with self._open() as archive, contextlib.ExitStack() as stack:
            members = {name: stack.enter_context(archive.open(f"{name}.npy")) for name in there}
            for name, member in members.items():
                _header(member, name)
            while left:
                count = min(left, CHUNK_ROWS)
                part = {name: _rows(member, self._headers[name], count, name) for name, member in members.items()}
                yield experiences_of(part, count, time_us)
                left -= count

    @contextlib.contextmanager
    def _open(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self._path) as archive:
                yield archive
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise SourceError(f"cannot be read ({error}); it is damaged or no NPZ file: fetch it again") from error


def _header(member: IO[bytes], name: str) -> Header:
    try:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_column, kind = read(member)
    except ValueError as error:
        raise SourceError(f"the array {name} cannot be read ({error}); fetch the file again") from error
    return shape, by_column, kind


def _rows(member: IO[bytes], header: Header, count: int, name: str) -> NDArray[Any]:
    """Objects have been refused with the columns: nothing is unpickled."""
    shape, _, kind = header
    shape = (count, *shape[1:])
    size = int(np.prod(shape)) * kind.itemsize
    data = member.read(size)
    if len(data) < size:
        raise SourceError(f"the array {name} ends before its last row; fetch the file again")
    return np.frombuffer(data, kind).reshape(shape).astype(kind.newbyteorder("="), copy=False)


class NpzWriter:
    """Rows into a file. An array's header says how many there are, so each array grows in a file of its own first."""

    def __init__(self, path: Path, target: str) -> None:
        self._path, self._target, self._rows = path, target, 0
        self._parts: dict[str, IO[bytes]] = {}
        self._kinds: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}

    def write(self, rows: Experiences) -> None:
        """Raises ValueError where the rows are of another width than those before."""
        for name in NAMES:
            values = getattr(rows, name)
            if name not in self._parts:
                self._parts[name] = _part(self._path, name).open("w+b")
                self._kinds[name] = values.dtype, values.shape[1:]
            if values.shape[1:] != self._kinds[name][1]:
                raise ValueError(f"rows of {values.shape[1]} and {self._kinds[name][1][0]} numbers do not fit one file")
            self._parts[name].write(np.ascontiguousarray(values).data)
        self._rows += len(rows)

    def close(self) -> None:
        with zipfile.ZipFile(self._path, "w", zipfile.ZIP_STORED) as archive:
            with archive.open(f"{TARGET}.npy", "w") as member:
                np.lib.format.write_array(member, np.array(self._target), allow_pickle=False)
            for name, part in self._parts.items():
                kind, shape = self._kinds[name]
                described = {"descr": kind.str, "fortran_order": False, "shape": (self._rows, *shape)}
                part.seek(0)
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array_header_1_0(member, described)
                    while data := part.read(COPY_BYTES):
                        member.write(data)
                part.close()
                _part(self._path, name).unlink()


def _part(path: Path, name: str) -> Path:
    return path.with_name(f"{path.name}.{name}")
