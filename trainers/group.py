"""A group: the trainings of several trials as one batch, in the process of the first of them.

Which ones stands in `group.json`; what each comes to is left in its own folder, where its own process goes on from it.
While the batch trains, this process holds the lock of every folder that it writes to.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from supervisor.contract import Group, TrialSpec, parse
from supervisor.journal import durable, sealed
from trainers.control import FolderControl
from trainers.target import Grouping, TrialTarget

GROUP_NAME = "group.json"
TRAINED_NAME = "trained"  # says that a trial has been through this, whatever came of it


def train_group(folder: Path, target: TrialTarget) -> None:
    """Do the trainings that the supervisor left here. Raises StopRequested after saving, and then goes on next time."""
    path = folder / GROUP_NAME
    if not path.exists():
        return
    with contextlib.ExitStack() as held:
        works = [work for work in _members(path) if _taken(work, held)]
        specs = [(work, spec) for work in works if (spec := _spec(work)) is not None]
        if isinstance(target, Grouping):
            target.prepare_group([(spec, work, FolderControl(work)) for work, spec in specs])
        for work in (folder, *(work for work, _ in specs)):
            with contextlib.suppress(durable.DiskFullError):
                durable.mark(work / TRAINED_NAME)
    durable.remove(path)


def _members(path: Path) -> list[Path]:
    """The others' folders; none where the file is damaged: they train by themselves then."""
    try:
        group = parse(Group, sealed.read(path))
    except (FileNotFoundError, ValueError):
        return []
    return [path.parent.parent / f"{iteration:06d}" for iteration in group.iterations]


def _taken(work: Path, held: contextlib.ExitStack) -> bool:
    """Whether no other process works in the folder, from now on."""
    try:
        descriptor = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    held.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _spec(work: Path) -> TrialSpec | None:
    try:
        return parse(TrialSpec, sealed.read(work / "trial.json"))
    except (FileNotFoundError, ValueError):
        return None
