"""The model store: `models/<sha256>.onnx` and `.pt`, written by the supervisor alone, never changed once there.

A file's name is the hash of its bytes, so whoever reads one can tell the right bytes from damaged ones.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Set
from io import BufferedReader
from pathlib import Path

from supervisor.contract import Version
from supervisor.errors import TryAgainError
from supervisor.journal import durable

FOLDER_NAME = "models"
MODEL_SUFFIX = ".onnx"
WEIGHTS_SUFFIX = ".pt"

_HASH = re.compile(r"[0-9a-f]{64}")
NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)  # what stands there is not the file that is sought
_OURS = re.compile(r"\.?[0-9a-f]{64}\.(onnx|pt)(\.tmp)?")


class StoreError(Exception):
    """A file of the store cannot be used as it is."""


class MissingFileError(StoreError):
    """The store does not hold this file."""


class DamagedFileError(StoreError):
    """The bytes are not those that the name promises."""


class OversizeFileError(StoreError):
    """The file is larger than its reader allows."""


class UnreadableFileError(TryAgainError):
    """The system cannot read the file just now (a failing disk, no free descriptor or memory, no right to it): nobody
    can tell whether it is damaged, so it does not count as such."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(
            f"{path}: cannot be read ({error.strerror or error}), which does not mean that it is damaged;"
            " see to the cause and start again"
        )


class ModelStore:
    """The files of one run folder. `sha256` is always 64 lower-case hex digits: nothing else can name a file here."""

    def __init__(self, run_dir: Path) -> None:
        self.folder = run_dir / FOLDER_NAME

    def path(self, sha256: str, suffix: str = MODEL_SUFFIX) -> Path:
        """Where the file lies, or would lie. Raises ValueError for what is no hash or no suffix of the store."""
        if not _HASH.fullmatch(sha256):
            raise ValueError(f"{sha256!r} is not a sha256 in lower-case hex")
        if suffix not in (MODEL_SUFFIX, WEIGHTS_SUFFIX):
            raise ValueError(f"the store holds {MODEL_SUFFIX} and {WEIGHTS_SUFFIX} files, not {suffix!r}")
        return self.folder / f"{sha256}{suffix}"

    def put(self, source: Path, sha256: str, suffix: str = MODEL_SUFFIX) -> Path:
        """Store the bytes of `source`, durably; nothing to do where they are there already and intact.

        Raises DamagedFileError, with the store untouched, when the source's bytes do not have this hash.
        """
        target = self.path(sha256, suffix)
        if self.verify(sha256, suffix):
            return target
        data = source.read_bytes()
        found = durable.sha256_bytes(data)
        if found != sha256:
            raise DamagedFileError(f"{source}: sha256 is {found}, expected {sha256}; the file is not stored")
        durable.make_folder(self.folder)
        durable.write_atomic(target, data)
        return target

    def verify(self, sha256: str, suffix: str = MODEL_SUFFIX) -> bool:
        """Whether the file is there with the right bytes. Raises UnreadableFileError where nobody can tell."""
        path = self.path(sha256, suffix)
        try:
            with _regular(path, os.O_RDONLY) as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest() == sha256
        except MissingFileError:
            return False
        except OSError as error:
            raise UnreadableFileError(path, error) from error

    def read(self, sha256: str, suffix: str = MODEL_SUFFIX, max_bytes: int | None = None) -> bytes:
        """The file's bytes, read once and checked: what is returned is what was checked.

        Raises MissingFileError, OversizeFileError (before reading), DamagedFileError or UnreadableFileError.
        """
        path = self.path(sha256, suffix)
        try:
            data = _read_regular(path, max_bytes)
        except OSError as error:
            raise UnreadableFileError(path, error) from error
        found = durable.sha256_bytes(data)
        if found != sha256:
            raise DamagedFileError(f"{path}: the bytes have sha256 {found}: damaged or replaced")
        return data

    def retain(self, keep: Set[str]) -> tuple[str, ...]:
        """Remove the store's files whose hash is not in `keep`, and what a crash left half written; their names.

        Files that are not the store's own are left alone.
        """
        unneeded = self.unneeded(keep)
        for path in unneeded:
            durable.remove(path)
        return tuple(path.name for path in unneeded)

    def unneeded(self, keep: Set[str]) -> list[Path]:
        """What `retain` would remove."""
        entries = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        return [
            path
            for path in entries
            if _OURS.fullmatch(path.name) and (path.name.startswith(".") or path.stem not in keep)
        ]

    def has(self, version: Version) -> bool:
        """Whether all files of the version are there with the right bytes; one without a model file needs none."""
        if version.interface is None:
            return True
        weights = version.weights_sha256
        return self.verify(version.model_sha256) and (weights is None or self.verify(weights, WEIGHTS_SUFFIX))


def _read_regular(path: Path, max_bytes: int | None) -> bytes:
    with _regular(path, os.O_RDONLY | os.O_NOFOLLOW) as stream:  # the store has no links
        size = os.fstat(stream.fileno()).st_size
        if max_bytes is not None and size > max_bytes:
            raise OversizeFileError(f"{path}: {size} bytes, at most {max_bytes} are read")
        return stream.read(size)


@contextlib.contextmanager
def _regular(path: Path, flags: int) -> Iterator[BufferedReader]:
    """The file, open. Raises MissingFileError where none is or something else stands in its place, and OSError."""
    # O_NONBLOCK: a FIFO put in place of the file must not hang its reader.
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise MissingFileError(
            f"{path}: no such file; only the last versions of a target keep theirs (run.retention_versions)"
        ) from error
    except OSError as error:
        if error.errno not in (*NO_FILE, errno.ENXIO):  # ENXIO: a socket
            raise
        raise MissingFileError(f"{path}: cannot be opened ({error.strerror})") from error
    try:
        # Looked at before a stream is made of it, which a folder would refuse with the descriptor left open.
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise MissingFileError(f"{path}: not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            yield stream
    finally:
        os.close(descriptor)
