"""Files damaged while the supervisor works, and the way out that needs no copy of a damaged model: going back."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from supervisor.contract import Reason, Status
from supervisor.errors import DamagedStateError, TryAgainError
from supervisor.journal import requests
from supervisor.journal.log import read_log
from supervisor.journal.recovery import known_incumbents
from supervisor.journal.requests import Action, Request
from supervisor.registry.active import ActiveFile
from tests.faults.cell import TIER_A, Cell, PromiseBrokenError
from tests.faults.damaged import PROMISE, comparable, in_production, must_tell, put_back
from tests.faults.disks import at_operation
from tests.faults.harm import DELETED, harm
from tests.faults.images import BETWEEN, CONTEST, DAMAGED, TRAINING, operations
from tests.faults.killed import number_of
from tests.faults.picture import assert_same, picture
from tests.faults.scenario import reference
from tests.faults.starts import start

AGAIN = "at most exit code 75, and then the same end"
A_WAY_BACK = "told; after incumbent rollback it goes on from the version before"
STARTS = 4
STRIDE = 2
IMAGES = {image.name: image for image in (BETWEEN, TRAINING, CONTEST)}
NOT_STRUCK = ("heartbeat", "stderr.log", "committed", "facts.jsonl")  # what decides nothing


def check_trial(scratch: Path, point: str, folder: Path) -> int:
    """One file of the newest trial's folder."""
    run_dir, struck, _ = _struck(scratch, point, folder, _of_the_newest_trial)
    for _ in range(STARTS):
        ended = start(DAMAGED, run_dir, struck)
        if ended.code == 0:
            break
        if ended.code != TryAgainError.exit_code:
            raise PromiseBrokenError(f"exit code {ended.code}: {ended.message}")
    _assert_end_but_for_the_struck(scratch, run_dir, folder)
    return int(bool(_name(folder)))


def check_model(scratch: Path, point: str, folder: Path) -> int:
    """One file of a version in production."""
    run_dir, struck, before = _struck(scratch, point, folder, _in_production)
    ended = start(DAMAGED, run_dir, struck)
    name = _name(folder)
    if ended.code == DamagedStateError.exit_code:
        must_tell(DAMAGED, run_dir, run_dir / name, DamagedStateError.exit_code, untouched=False)
    elif ended.code != 0:
        raise PromiseBrokenError(f"exit code {ended.code}: {ended.message}")
    if name:
        put_back(run_dir / name, before.read_bytes())
    if any(record.reason is Reason.UNKNOWN_VERSION for record in read_log(run_dir).records):
        raise PromiseBrokenError("a trial's line says that it found a version's file damaged")
    DAMAGED.run(run_dir)
    _assert_end_but_for_the_struck(scratch, run_dir, folder)
    return int(bool(_name(folder)))


def _struck(
    scratch: Path, point: str, folder: Path, candidates: Callable[[Path], Sequence[Path]]
) -> tuple[Path, Callable[[], Callable[[], int]], Path]:
    """The run's folder, the disturbance of its first start, and where the file's bytes from before are kept."""
    run_dir, name, before = folder / "run", folder / "name", folder / "before"
    reference(DAMAGED, scratch).lay(run_dir)
    drawn = random.Random(point)

    def strike() -> None:
        files = candidates(run_dir)
        if not files:
            return
        path = drawn.choice(files)
        data = path.read_bytes()
        before.write_bytes(data)
        name.write_text(str(path.relative_to(run_dir)))
        harm(path, drawn.choice([DELETED, f"bit {drawn.randrange(len(data))}.0"]) if data else DELETED)

    def disturb() -> Callable[[], int]:
        if not name.exists():
            at_operation(number_of(point), strike)
        return lambda: 1

    return run_dir, disturb, before


def _of_the_newest_trial(run_dir: Path) -> list[Path]:
    newest = max((run_dir / "trials").iterdir())
    files = sorted(path for path in newest.iterdir() if path.is_file() and path.name not in NOT_STRUCK)
    unbuilt = () if (newest / "built.json").exists() else ("model.onnx", "final.pt")  # nobody knows yet what they are
    return [path for path in files if not path.name.startswith(".") and path.name not in unbuilt]


def _in_production(run_dir: Path) -> list[Path]:
    return sorted(path for path in (run_dir / "models").iterdir() if path.stem in in_production(run_dir))


def _name(folder: Path) -> str:
    return (folder / "name").read_text() if (folder / "name").exists() else ""


def _assert_end_but_for_the_struck(scratch: Path, run_dir: Path, folder: Path) -> None:
    """What was damaged after its last reader stays as it is."""
    name = _name(folder)
    left_out = {name}
    if name:
        (run_dir / name).unlink(missing_ok=True)
    assert_same(comparable(picture(run_dir), left_out), comparable(reference(DAMAGED, scratch).expected, left_out))


def back_points(scratch: Path, folder: Path) -> Sequence[str]:
    """ "IMAGE TARGET SUFFIX WAY" """
    for image in IMAGES.values():
        image.make(scratch)
    targets = ("aggressive/noop", "mage/noop")
    return [
        f"{image} {target} {suffix} {way}"
        for image in IMAGES
        for target in targets
        for suffix in ("onnx", "pt")
        for way in (DELETED, "bit 20.0", "cut 0")
    ]


def check_back(scratch: Path, point: str, folder: Path) -> int:
    image_name, target, suffix, way = point.split(" ", 3)
    run_dir = folder / "run"
    shutil.copytree(IMAGES[image_name].make(scratch), run_dir)
    active = ActiveFile.read(run_dir)
    assert active is not None
    entry = active.targets[target]
    path = run_dir / "models" / f"{entry.model_sha256 if suffix == 'onnx' else entry.weights_sha256}.{suffix}"
    harm(path, way)
    message = must_tell(DAMAGED, run_dir, path, DamagedStateError.exit_code, untouched=image_name == BETWEEN.name)
    if f"incumbent rollback {target}" not in message:
        raise PromiseBrokenError(f"no way back named: {message}")
    requests.drop(run_dir, Request("back", 2, Action.ROLLBACK, target))
    DAMAGED.carry_out(run_dir)
    DAMAGED.run(run_dir)
    _assert_gone_back(run_dir, target, entry.version)
    return 1


def _assert_gone_back(run_dir: Path, target: str, damaged: str) -> None:
    records = read_log(run_dir).records
    invalid = [record.iteration for record in records if record.status is Status.INVALID]
    problems = []
    if len(records) != DAMAGED.iterations or len(invalid) > 1:
        problems.append(f"{len(records)} lines, invalid are {invalid}")
    if known_incumbents(run_dir)[target].name == damaged:
        problems.append("the damaged version is the incumbent")
    if problems:
        raise PromiseBrokenError("; ".join(problems))


def cells(scratch: Path) -> list[Cell]:
    def points(folder: Path) -> Sequence[str]:
        return operations(DAMAGED, scratch)[::STRIDE]

    return [
        Cell("trial damaged meanwhile", TIER_A, AGAIN, points, partial(check_trial, scratch), reduced=3),
        Cell("model damaged meanwhile", TIER_A, PROMISE, points, partial(check_model, scratch), reduced=3),
        Cell("gone back", TIER_A, A_WAY_BACK, partial(back_points, scratch), partial(check_back, scratch), reduced=3),
    ]
