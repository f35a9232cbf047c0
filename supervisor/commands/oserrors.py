"""What the operating system refused, as one message and an exit code: the operator corrects a path, a disk is tried
again."""

from __future__ import annotations

import errno

from supervisor.errors import StorageUnreachableError, TryAgainError, UsageError
from supervisor.journal.durable import FULL

REMEDIES = {  # of wrong paths, exit code 2: starting again would not help
    errno.ENOENT: "give a path that exists",
    errno.EEXIST: "a file is where a folder is needed; give another path",
    errno.ENOTDIR: "a file is where a folder is needed; give another path",
    errno.EISDIR: "a folder is where a file is needed; move it away, or give another path",
    errno.EACCES: "give yourself the right to it (ls -l), or another path",
    errno.EPERM: "give yourself the right to it (ls -l), or another path",
    errno.EROFS: "the file system is mounted read-only; mount it for writing, or give another path",
    errno.ENAMETOOLONG: "give a shorter path",
    errno.ELOOP: "its links lead in a circle; give another path",
}
NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)


def exit_code_of(error: OSError) -> int | None:
    """2 for a wrong path, 75 for a disk that is full or fails and where nothing more can be opened, 5 for other trouble
    with a file; None where the error names no file, so that nobody could tell what to do."""
    if error.errno in (errno.EIO, *NO_DESCRIPTOR, *FULL):
        return TryAgainError.exit_code
    if error.filename is None:
        return None
    return UsageError.exit_code if error.errno in REMEDIES else StorageUnreachableError.exit_code


def message_of(error: OSError) -> str:
    """`path: what; what to do`."""
    if error.errno in FULL:
        remedy = "free some space and start again: it goes on where it was"
    elif error.errno in NO_DESCRIPTOR:
        remedy = "too many files are open at a time; raise the limit (ulimit -n) and start again"
    elif error.errno == errno.EIO:
        remedy = "the disk fails; look at it (dmesg) and start again"
    else:
        remedy = REMEDIES.get(error.errno or 0, "see whether the disk or share is there, then start again")
    named = f"{error.filename}: " if error.filename is not None else ""
    return f"{named}{error.strerror or error}; {remedy}"
