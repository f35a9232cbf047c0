"""A small ext4 in an image file, mounted where only this process and its children see it: it goes when they end."""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

IMAGE_BYTES = 10 << 20
CLONE_NEWNS = 0x00020000
# Blocks as on a real disk; nothing initialized later by a kernel thread, whose writes would be in the way.
MAKE = ("mkfs.ext4", "-q", "-b", "4096", "-J", "size=4", "-m", "0", "-N", "2048")
MAKE_OPTIONS = ("-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard")
# No commit by the clock, and no flush that ext4 gives to a rename without fsync.
UNKIND = "loop,commit=600,noauto_da_alloc"


def make_image(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(IMAGE_BYTES)
    subprocess.run([*MAKE, *MAKE_OPTIONS, str(path)], check=True, capture_output=True)


def leave_common_mounts() -> None:
    """From here on mounts of this process are its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def mount(image: Path, folder: Path, options: str) -> None:
    folder.mkdir()
    subprocess.run(["mount", "-t", "ext4", "-o", options, str(image), str(folder)], check=True)


@functools.cache
def unavailable() -> str:
    for program in ("mkfs.ext4", "mount", "unshare"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    with tempfile.TemporaryDirectory() as scratch:
        image, folder = Path(scratch) / "image", Path(scratch) / "disk"
        folder.mkdir()
        make_image(image)
        command = ["unshare", "--mount", "mount", "-t", "ext4", "-o", UNKIND, str(image), str(folder)]
        tried = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"an image cannot be mounted: {tried.stderr.strip().splitlines()[0]}"
