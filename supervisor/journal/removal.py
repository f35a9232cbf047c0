"""Folders out of the way, whatever a trial did to them. Nothing that is left behind ends a run."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import stat
from pathlib import Path

LEFT_SUFFIX = ".left"


def remove_tree(path: Path) -> str:
    """Remove a folder with all that is in it, what a trial protected against writing too.

    A sentence where something of it would not go, empty otherwise.
    """
    if _refusal(path):
        _open_up(path)
        shutil.rmtree(path, ignore_errors=True)  # whatever of it goes
        if refusal := _refusal(path):
            return f"{path}: could not be removed ({refusal}); nothing needs it, remove it by hand"
    return ""


def clear_place(path: Path) -> str:
    """`remove_tree` where something new is to stand: what would not go is moved aside, as `<name>.<number>.left`."""
    problem = remove_tree(path)
    if problem and path.suffix != LEFT_SUFFIX:
        numbers = itertools.count(1)
        aside = next(new for number in numbers if not (new := Path(f"{path}.{number}{LEFT_SUFFIX}")).exists())
        try:
            os.rename(path, aside)
        except OSError as error:
            return f"{problem} ({_words(error)} when it was to be moved aside)"
        return f"{problem}: it is {aside.name} now"
    return problem


def _refusal(path: Path) -> str:
    """Why the first thing of the tree that would not go did not; empty when all of it is gone."""
    try:
        shutil.rmtree(path)
    except OSError as error:
        return _words(error) if os.path.lexists(path) else ""
    return ""


def _open_up(path: Path) -> None:
    """Let the owner, if that is us, write to all folders of the tree: a file goes where its folder can be written."""
    _let_owner_write(path)
    for parent, folders, _ in os.walk(path):
        for name in folders:  # before the walk looks into it
            _let_owner_write(Path(parent, name))


def _let_owner_write(folder: Path) -> None:
    with contextlib.suppress(OSError):
        mode = folder.lstat().st_mode
        if stat.S_ISDIR(mode):
            folder.chmod(stat.S_IMODE(mode) | stat.S_IRWXU)


def _words(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename is not None else str(error)
