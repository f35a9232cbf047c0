"""A user's configuration file, edited in place for a while and given back byte for byte, whatever happens.

A claim is a folder `.<file>.incumbent` beside the file. It holds the user's own bytes and every content that we wrote
or are about to write, all durable before the file changes; so whoever comes after a kill -9 knows whether the file is
the user's original, ours, or a user's edit made meanwhile. The folder is locked while its owner lives, and gone when no
trial uses the file. An edit that falls into the microseconds between our look at the file and our rename is lost; every
other one is kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from supervisor.journal import durable

CLAIM_NAME = "claim.json"  # exists exactly while the claim stands: written last, removed first
ORIGINAL_NAME = "original"
SCHEMA = 1


@dataclass(frozen=True)
class Owner:
    """Whose file it is: a rename would give it to us."""

    mode: int
    uid: int
    gid: int

    @classmethod
    def of(cls, path: Path) -> Owner:
        status = path.stat()
        return cls(status.st_mode & 0o7777, status.st_uid, status.st_gid)


def real_path(path: Path) -> Path:
    """The file itself where the path is a link to it: the link stays a link."""
    return Path(os.path.realpath(path))


def write_file(path: Path, data: bytes, owner: Owner) -> None:
    """Replace the file durably; it stays its owner's, with its mode."""
    durable.write_atomic(path, data, owner.mode)
    status = path.stat()
    if (status.st_uid, status.st_gid) != (owner.uid, owner.gid):
        with contextlib.suppress(PermissionError):
            os.chown(path, owner.uid, owner.gid)
    if status.st_mode & 0o7777 != owner.mode:
        path.chmod(owner.mode)


def claim_folder(path: Path) -> Path:
    return path.with_name(f".{path.name}.incumbent")


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


class Claim:
    """The right to edit one file. Made by `take`; `release` gives the file back."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._folder = claim_folder(path)
        self._lock = lock
        self._last: bytes | None = None  # what we wrote last
        self._puts = 0
        self.notes: list[str] = _recover(path)
        self._stand_on(path.read_bytes())

    def _stand_on(self, original: bytes) -> None:
        self.original = original
        self._owner = Owner.of(self.path)
        durable.write_atomic(self._folder / ORIGINAL_NAME, original)
        durable.write_json(self._folder / CLAIM_NAME, {"schema": SCHEMA, **asdict(self._owner)})

    def put(self, data: bytes) -> None:
        """Make the file hold `data`. What the user did to it meanwhile becomes the new original first."""
        self.keep_foreign_edit()
        self._last = data
        if self.intact():
            return
        ours = self._folder / durable.sha256_bytes(data)
        if not ours.exists():
            durable.write_atomic(ours, data)
        self._puts += 1
        os.utime(ours, ns=(self._puts, self._puts))  # a clock could give two of them the same time
        write_file(self.path, data, self._owner)

    def intact(self) -> bool:
        """Whether the file still holds what was put there last."""
        return _read(self.path) == self._last

    def keep_foreign_edit(self) -> bool:
        """Whether the file holds neither the original nor ours. The edit stays and is the original from here on."""
        current = _read(self.path)
        if current is not None and (current == self.original or _is_ours(self._folder, current)):
            return False
        self.notes.append(_save_beside(self.path, self.original, self._last))
        if current is None:
            raise FileNotFoundError(f"{self.path} was removed while a trial was using it")
        self._stand_on(current)
        return True

    def release(self) -> None:
        """Give the file back as it was and let go. Not to be used after."""
        try:
            self.notes += _recover(self.path)
        finally:
            with contextlib.suppress(OSError):
                self._folder.rmdir()
            os.close(self._lock)


def take(path: Path) -> Claim | None:
    """Claim the file, giving back first what a killed owner left. None while another process holds it.

    Raises OSError where the file cannot be read or its folder cannot be written.
    """
    path = real_path(path)
    lock = _lock(claim_folder(path))
    if lock is None:
        return None
    try:
        return Claim(path, lock)
    except BaseException:
        with contextlib.suppress(OSError):
            claim_folder(path).rmdir()
        os.close(lock)
        raise


def restore_leftovers(paths: Iterable[Path]) -> list[str]:
    """Give back every file whose claim's owner is dead. The texts of events about users' edits."""
    notes: list[str] = []
    for path in sorted({real_path(path) for path in paths}):
        folder = claim_folder(path)
        if not folder.is_dir():
            continue
        lock = _lock(folder)
        if lock is None:
            continue  # its trial lives
        try:
            notes += _recover(path)
            folder.rmdir()
        finally:
            os.close(lock)
    return notes


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[bool]:
    """Hold the file as it is, given back where a killed trial left it edited; False while a trial uses it."""
    path = real_path(path)
    lock = _lock(claim_folder(path))
    if lock is None:
        yield False
        return
    try:
        _recover(path)
        yield True
    finally:
        with contextlib.suppress(OSError):
            claim_folder(path).rmdir()
        os.close(lock)


def user_bytes(path: Path) -> bytes:
    """The file as its user knows it, also while a trial has it edited."""
    path = real_path(path)
    folder = claim_folder(path)
    while True:
        before = _read(folder / ORIGINAL_NAME)
        current = path.read_bytes()
        ours = _is_ours(folder, current)
        if _read(folder / ORIGINAL_NAME) == before:  # no claim began or ended while we looked
            return before if ours and before is not None else current


def _lock(folder: Path) -> int | None:
    """A descriptor that holds the claim folder, made if need be; None while another process holds it."""
    while True:
        folder.mkdir(exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), folder.stat()):
                return descriptor
        os.close(descriptor)  # removed by its last owner between our open and our lock


def _is_ours(folder: Path, data: bytes) -> bool:
    return (folder / durable.sha256_bytes(data)).exists()


def _recover(path: Path) -> list[str]:
    """End the claim that stands on the file, if one does; called with the lock held. The texts of events."""
    folder = claim_folder(path)
    notes: list[str] = []
    claim = _read(folder / CLAIM_NAME)
    original = _read(folder / ORIGINAL_NAME)
    if claim is not None and original is not None:
        notes = _give_back(path, original, json.loads(claim))
        durable.remove(folder / CLAIM_NAME)
        durable.sync_folder(folder)  # a claim that came back after a power cut would undo what was written since
        path.with_name(f".{path.name}.tmp").unlink(missing_ok=True)
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)
    return notes


def _give_back(path: Path, original: bytes, claim: dict[str, int]) -> list[str]:
    folder = claim_folder(path)
    current = _read(path)
    owner = Owner(claim["mode"], claim["uid"], claim["gid"])
    if current is None or (current != original and not _is_ours(folder, current)):
        return [_save_beside(path, original, _newest_of_ours(folder))]
    if current != original or Owner.of(path) != owner:
        write_file(path, original, owner)
    return []


def _newest_of_ours(folder: Path) -> bytes | None:
    ours = [entry for entry in folder.iterdir() if len(entry.name) == 64]
    return max(ours, key=lambda entry: entry.stat().st_mtime_ns).read_bytes() if ours else None


def _save_beside(path: Path, original: bytes, ours: bytes | None) -> str:
    """Keep the file as it is, and beside it what it was and what we had written; the text of the event."""
    kept = _free_name(path, "original", original)
    durable.write_atomic(kept, original)
    text = f"{path} was changed by somebody while a trial had it edited; it is kept, the file before it is {kept.name}"
    if ours is not None:
        trial = _free_name(path, "trial", ours)
        durable.write_atomic(trial, ours)
        text += f", the trial's is {trial.name}"
    return text + "; compare them: the changed file may hold values of the trial"


def _free_name(path: Path, what: str, data: bytes) -> Path:
    number = 1
    while True:
        suffix = f"-{number}" if number > 1 else ""
        candidate = path.with_name(f"{path.name}.incumbent-{what}{suffix}")
        if _read(candidate) in (None, data):
            return candidate
        number += 1
