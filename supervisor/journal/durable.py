"""The only module that makes bytes durable: atomic replace, append, remove, and the folder syncs they need.

Every operation passes through `_step`, where a fault matrix may kill the process or raise; in production it is a no-op.
A failed fsync is never retried (the kernel may have dropped the pages): `FsyncFailedError` ends the process with exit
code 75 and recovery starts from what is on disk.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar

from supervisor.errors import TryAgainError

failpoint: Callable[[str, Path], None] | None = None
"""Called with (operation, path) before each durable operation; set by fault tests only."""


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LIMITS = {errno.EDQUOT: "the quota is used up", errno.EFBIG: "the largest size of a file (ulimit -f) is reached"}
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)  # what file systems without them answer
LINE_BYTES = 1 << 14  # read at first in search of the last line

P = ParamSpec("P")
R = TypeVar("R")


class FsyncFailedError(TryAgainError):
    """The disk refused to make bytes durable."""


class DiskFullError(OSError):
    """No space was left; whatever was half written has been taken back. The caller may wait and try again."""


def _plain(value: object) -> object:
    """A numpy scalar as the Python number it holds; json refuses them all but float64."""
    item = getattr(value, "item", None)
    if callable(item):
        return item()
    raise TypeError(f"{type(value).__name__} is not JSON")


def canonical_json(value: object) -> bytes:
    """One line of JSON whose bytes are a function of the value: sorted keys, no spaces, ASCII, never NaN.

    Raises ValueError for NaN and infinities, TypeError for what is not JSON.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False, default=_plain)
    return text.encode("ascii")


def sha256_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _step(operation: str, path: Path) -> None:
    if failpoint is not None:
        failpoint(operation, path)


def _fsync(descriptor: int, operation: str, path: Path) -> None:
    try:
        _step(operation, path)
        os.fsync(descriptor)
    except OSError as error:
        raise FsyncFailedError(
            f"{path}: the disk did not confirm a write ({error}); started again from disk"
        ) from error


def _names_the_file(operation: Callable[P, R]) -> Callable[P, R]:
    """Whatever call of the operation fails says for which file; where it finds no room it raises DiskFullError, so that
    the caller can wait."""

    @functools.wraps(operation)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return operation(*args, **kwargs)
        except DiskFullError:
            raise
        except OSError as error:
            if error.errno in FULL:
                raise DiskFullError(error.errno, f"{LIMITS.get(error.errno, 'no space left')} for {args[0]}") from error
            error.filename, error.filename2 = str(args[0]), None  # not the temporary one, which says nothing to people
            raise

    return guarded


def sync_folder(folder: Path) -> None:
    """Make the folder's own entries (creations, renames, removals) durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _fsync(descriptor, "fsync_folder", folder)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes, path: Path) -> None:
    view = memoryview(data)
    while view:
        _step("write", path)
        view = view[os.write(descriptor, view) :]


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp")


@_names_the_file
def write_atomic(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace the file by `data`: after a crash anywhere it holds the old bytes or the new ones, whole.

    Raises DiskFullError with the old file untouched, FsyncFailedError when the disk does not confirm.
    """
    temporary = _temporary(path)
    try:
        _step("open_temporary", temporary)
        descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, mode)
        try:
            _write_all(descriptor, data, temporary)
            _fsync(descriptor, "fsync_temporary", temporary)
        finally:
            os.close(descriptor)
        _step("rename", path)
        os.rename(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@_names_the_file
def publish(path: Path, written: Path) -> None:
    """Put a file that another program wrote beside it in the place of `path`, durably: for what is too large to be held
    at once. Until then nothing depends on it, and a crash leaves both or the new one."""
    descriptor = os.open(written, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _fsync(descriptor, "fsync_temporary", written)
    finally:
        os.close(descriptor)
    _step("rename", path)
    os.rename(written, path)
    sync_folder(path.parent)


def write_json(path: Path, value: object) -> None:
    """`write_atomic` of canonical JSON and a newline."""
    write_atomic(path, canonical_json(value) + b"\n")


@_names_the_file
def append(path: Path, data: bytes, expected_size: int | None = None) -> int:
    """Append and fsync; the new size in bytes. Opened for each call, so a rename or rotation in between is seen.

    On a write error the file is cut back to its length before. `expected_size` guards against a foreign writer:
    a different length raises ValueError and writes nothing.
    """
    _step("open_append", path)
    existed = path.exists()
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        if expected_size is not None and size != expected_size:
            raise ValueError(f"{path} has {size} bytes where {expected_size} were expected")
        try:
            _write_all(descriptor, data, path)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
        _fsync(descriptor, "fsync_append", path)
    finally:
        os.close(descriptor)
    if not existed:
        sync_folder(path.parent)
    return size + len(data)


@_names_the_file
def truncate(path: Path, size: int) -> None:
    """Cut a torn tail off, durably."""
    _step("truncate", path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.ftruncate(descriptor, size)
        _fsync(descriptor, "fsync_truncate", path)
    finally:
        os.close(descriptor)


def cut_torn_tail(path: Path) -> int:
    """Cut what a killed writer or a power cut left of a last line off, durably; the number of bytes cut.

    A line with NUL bytes is such a rest, its end may be there or not: a file system may have made the file's length
    durable before all of its bytes.
    """
    if not path.exists():
        return 0
    size = whole = path.stat().st_size
    with path.open("rb") as stream:
        while (line := _last_line(stream, whole)) and (not line.endswith(b"\n") or b"\0" in line):
            whole -= len(line)
    if whole < size:
        truncate(path, whole)
    return size - whole


def _last_line(stream: BinaryIO, size: int) -> bytes:
    """The last of the first `size` bytes' lines."""
    length = LINE_BYTES
    while True:
        start = max(0, size - length)
        stream.seek(start)
        data = stream.read(size - start)
        newline = data.rfind(b"\n", 0, -1)
        if newline >= 0 or start == 0:
            return data[newline + 1 :]
        length *= 2


@_names_the_file
def link_previous(path: Path, previous: Path) -> None:
    """Keep the current file as `previous` by a hard link, so that there is never a moment without `path`. Where the
    file system has no hard links (vfat, some shares) the bytes are written a second time."""
    temporary = _temporary(previous)
    temporary.unlink(missing_ok=True)
    if not path.exists() or (previous.exists() and previous.samefile(path)):
        return  # renaming one name of a file to another of its names would do nothing and leave both
    try:
        _step("link", previous)
        os.link(path, temporary)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        write_atomic(previous, path.read_bytes())
        return
    _step("rename_previous", previous)
    os.rename(temporary, previous)


@_names_the_file
def make_folder(path: Path) -> None:
    """Create the folder (parents too) and make its entry durable."""
    if path.is_dir():
        return
    _step("make_folder", path)
    path.mkdir(parents=True, exist_ok=True)
    sync_folder(path.parent)


@_names_the_file
def mark(path: Path) -> None:
    """An empty file, if there is none; a power cut may take it back, so what it says must be safe to lose."""
    if not path.exists():
        _step("mark", path)
        path.touch()


@_names_the_file
def remove(path: Path) -> None:
    """Remove a file if it is there; a crash may bring it back, so what is removed must be safe to find again."""
    if path.exists() or path.is_symlink():
        _step("remove", path)
        path.unlink(missing_ok=True)
