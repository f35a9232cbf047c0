"""Main of a trial process. One argument, the trial folder; one result, a file that appears there by rename.

What lies in the folder says which stage is due, so a killed trial goes on where it was.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from supervisor.contract import DuelResult, DuelSpec, Reason, Status, TrialResult, TrialSpec, as_json, parse
from supervisor.errors import TrialError
from supervisor.journal import durable, sealed
from trainers.build_stage import build, build_stage, failed
from trainers.control import FolderControl
from trainers.custom import load_target
from trainers.duel_stage import duel_stage
from trainers.gpu_share import keep_to_share
from trainers.group import train_group
from trainers.ledger import Ledger
from trainers.played import StoreSilent
from trainers.target import NoProcessLeft, StopRequested, TrialTarget

EXIT_DONE = 0
EXIT_STOPPED = 10  # asked to stop, everything saved, to be continued
EXIT_OUT_OF_MEMORY = 11
EXIT_DISK_FULL = 13  # no room for what had to be saved, to be continued once there is
EXIT_REFUSED = 14  # the machine had no process left, to be continued once there is one
EXIT_STORE_SILENT = 15  # the experience store does not answer, to be continued once it does
EXIT_CRASHED = 1

T = TypeVar("T")

KINDS = {
    "arena": "trainers.arena_target:ArenaTarget",
    "command": "trainers.command:CommandTarget",
    "gymnasium": "trainers.gymnasium_target:GymnasiumTarget",
}


def main(folder: str) -> int:
    """Run the stage that is due in the folder; the process's exit code."""
    path = Path(folder)
    control = FolderControl(path)
    control.listen()
    control.beat(0)
    try:
        _run(path, control)
    except StopRequested:
        return EXIT_STOPPED
    except MemoryError:
        return EXIT_OUT_OF_MEMORY
    except NoProcessLeft:
        traceback.print_exc()
        return EXIT_REFUSED
    except StoreSilent as error:
        print(error, file=sys.stderr)
        return EXIT_STORE_SILENT
    except Exception as error:
        traceback.print_exc()
        full = isinstance(error, OSError) and error.errno in durable.FULL
        return EXIT_DISK_FULL if full else EXIT_CRASHED
    return EXIT_DONE


def _run(folder: Path, control: FolderControl) -> None:
    spec = _read(folder / "trial.json", TrialSpec)
    keep_to_share()
    if (folder / "duel.json").exists():
        _write(folder / "duel_result.json", _duel(spec, folder, control))
    else:
        _write(folder / "result.json", _build(spec, folder, control))


@contextmanager
def _opened(spec: TrialSpec, folder: Path, control: FolderControl) -> Iterator[TrialTarget]:
    """The target; whatever happens it is closed. Opening one may raise TrialError as well."""
    target = open_target(spec, folder, control)
    try:
        yield target
    finally:
        target.close()


def _build(spec: TrialSpec, folder: Path, control: FolderControl) -> TrialResult:
    try:
        with _opened(spec, folder, control) as target:
            train_group(folder, target)
            return build_stage(spec, folder, target, Ledger(folder, control))
    except TrialError as error:
        return failed(spec, error)


def _duel(spec: TrialSpec, folder: Path, control: FolderControl) -> DuelResult:
    result = _read(folder / "result.json", TrialResult)
    duel = _read(folder / "duel.json", DuelSpec)
    try:
        with _opened(spec, folder, control) as target:
            built = build(target, result.params, folder)
            return duel_stage(spec, result, duel, built, target, Ledger(folder, control))
    except TrialError as error:
        return DuelResult(
            iteration=spec.iteration,
            status=Status.INVALID,
            reason=Reason(error.reason),
            decision=None,
            detail=error.detail[-2000:],
        )


def _read(path: Path, cls: type[T]) -> T:
    """Raises ValueError where the file is not as it was written: the supervisor sees to that."""
    return parse(cls, sealed.read(path))


def _write(path: Path, result: TrialResult | DuelResult) -> None:
    sealed.write(path, as_json(result))


def open_target(spec: TrialSpec, folder: Path, control: FolderControl) -> TrialTarget:
    """The target kind's implementation, built in or a user's `module:Class`."""
    return load_target(KINDS.get(spec.kind, spec.kind))(spec, folder, control)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
