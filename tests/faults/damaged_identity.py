"""run.json damaged in every way: the command says so and changes nothing; put back, the run goes on. A missing one is
made again where the settings of today give the same run, and only there."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from supervisor.errors import DamagedStateError
from supervisor.journal import sealed
from supervisor.journal.identity import RUN_NAME
from supervisor.journal.log import LOG_NAME
from tests.faults.cell import TIER_A, Cell, PromiseBrokenError
from tests.faults.damaged import events
from tests.faults.forked import fork
from tests.faults.harm import DELETED, harm, harmed, ways
from tests.faults.picture import Picture, assert_same, picture
from tests.support.command_line import NoopFolder, Result

PROMISE = "told, or made again where it says the same; then the same end"
BASE, ITERATIONS = 3, 4
FLIPS = 16
OTHER_SEED = "deleted, another seed"


@dataclass(frozen=True)
class Known:
    """A run stopped after BASE iterations, and what it is after ITERATIONS."""

    base: NoopFolder
    expected: Picture

    def copy(self, folder: Path) -> NoopFolder:
        shutil.copytree(self.base.run_dir, folder / "run")
        return NoopFolder(folder / "run", self.base.config)


def run(folder: NoopFolder, iterations: int, *more: str) -> Result:
    return folder.call_with_config("run", "--max-iterations", str(iterations), *more)


@functools.cache
def _known(scratch: Path) -> Known:
    place = scratch / "identity"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    base = NoopFolder.make(place)

    def work() -> int:
        ended = run(base, BASE)
        shutil.copytree(base.run_dir, place / "end")
        code = ended.code or run(NoopFolder(place / "end", base.config), ITERATIONS).code
        if code != 0:
            raise RuntimeError(ended.err)
        return 1

    _, failure = fork("", place / "making", work).bury()
    if failure:
        raise RuntimeError(failure)
    return Known(base, picture(place / "end"))


def points(scratch: Path, folder: Path) -> Sequence[str]:
    data = (_known(scratch).base.run_dir / RUN_NAME).read_bytes()
    return [*ways(data, FLIPS), OTHER_SEED]


def check(scratch: Path, point: str, folder: Path) -> int:
    known = _known(scratch)
    trial = known.copy(folder)
    path = trial.run_dir / RUN_NAME
    data = path.read_bytes()
    way = DELETED if point == OTHER_SEED else point
    harm(path, way)
    after = harmed(data, way)
    if point == DELETED:
        _assert_restored(trial, known)
    elif after is None or not _same(after, data):
        ended = run(trial, ITERATIONS, *(("--seed", "8") if point == OTHER_SEED else ()))
        _assert_told(ended, trial, path if point != OTHER_SEED else trial.run_dir / LOG_NAME)
        if path.is_dir():
            path.rmdir()
        path.write_bytes(data)
    assert run(trial, ITERATIONS).code == 0
    assert_same(picture(trial.run_dir), known.expected)
    return 1


def _assert_restored(trial: NoopFolder, known: Known) -> None:
    ended = run(trial, ITERATIONS)
    if ended.code != 0 or "identity_restored" not in events(trial.run_dir):
        raise PromiseBrokenError(f"exit code {ended.code}, events {events(trial.run_dir)}: {ended.err}")


def _assert_told(ended: Result, trial: NoopFolder, path: Path) -> None:
    if ended.code != DamagedStateError.exit_code or str(path) not in ended.err:
        raise PromiseBrokenError(f"exit code {ended.code}: {ended.err}")
    if (trial.run_dir / RUN_NAME).is_file() and path.name == LOG_NAME:
        raise PromiseBrokenError("a run.json was written that belongs to another run")


def _same(after: bytes, data: bytes) -> bool:
    try:
        return sealed.decode(after) == sealed.decode(data)
    except sealed.DamagedFileError:
        return False


def cells(scratch: Path) -> list[Cell]:
    return [Cell("damaged run.json", TIER_A, PROMISE, partial(points, scratch), partial(check, scratch), reduced=3)]
