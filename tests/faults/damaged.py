"""Every file of a stopped run damaged in every way: the run goes on to the same end, or it says what to do and touches
nothing; done as it says, it goes on to the same end. RULES is the table of what happens to which file."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from supervisor.contract import Json
from supervisor.errors import DamagedStateError, UsageError
from supervisor.journal import sealed
from supervisor.journal.events import EVENTS_NAME
from supervisor.registry.active import ActiveFile
from tests.faults.cell import TIER_A, Cell, PromiseBrokenError
from tests.faults.harm import DELETED, FOLDER, harm, harmed, ways
from tests.faults.images import ASKED, BETWEEN, CHARTED, CONTEST, IN_FLIGHT, PLAYING, TRAINING, UNASKED, Image
from tests.faults.picture import Picture, assert_same, picture
from tests.faults.scenario import Scenario, reference
from tests.faults.starts import start

PROMISE = "the same end, or told what to do and then the same end"
EQUAL = "equal"  # goes on by itself, to the undisturbed end
TOLD = "told"  # exit code 6, the file and the remedy named, nothing touched; put back, the undisturbed end
IN_THE_WAY = "in the way"  # exit code 2 for a folder that stands where a file belongs, the rest as before
AROUND = "around"  # goes on without it, and makes it anew once the folder is gone
LEFT = "left"  # nothing reads it any more: it stays as it is, everything else comes to the undisturbed end
FEWER = "fewer"  # the undisturbed end, but the lines that went are not made again where nobody needs them
WITHOUT = "without"  # the end of a run in which nobody asked
REMEDY = re.compile(r"[;,.] (or )?(put|restore|give|move|remove|start)", re.IGNORECASE)
OF_A_START = (EVENTS_NAME, "supervisor.lock", "study.db")
ALL_PHASES = {"screen", "duel", "measure"}
FLIPS = 24


@dataclass(frozen=True)
class Rule:
    """What damage to the files of a pattern leads to, and which event then says so."""

    image: Image
    files: str
    outcome: str
    event: str | None = None  # where what is read is not what was written; None: it is made anew without a word
    deleted_event: str | None = None
    folder: str | None = None  # the outcome where a folder is in its place, if it is another one


RULES = (
    Rule(TRAINING, f"{IN_FLIGHT}/trial.json", EQUAL, "trial_damaged", deleted_event="trial_damaged"),
    Rule(TRAINING, f"{IN_FLIGHT}/facts.jsonl", EQUAL, "trial_damaged"),
    Rule(TRAINING, f"{IN_FLIGHT}/weights*.pt", EQUAL),  # the point before serves, or training starts at step 0
    Rule(TRAINING, f"{IN_FLIGHT}/progress.json", EQUAL),
    Rule(CONTEST, f"{IN_FLIGHT}/trial.json", EQUAL, "trial_damaged", deleted_event="trial_damaged"),
    Rule(CONTEST, f"{IN_FLIGHT}/facts.jsonl", EQUAL, "trial_damaged"),
    Rule(CONTEST, f"{IN_FLIGHT}/result.json", EQUAL, "trial_damaged", deleted_event="trial_damaged"),
    Rule(CONTEST, f"{IN_FLIGHT}/duel*.json", EQUAL, "trial_damaged"),
    Rule(PLAYING, f"{IN_FLIGHT}/games.jsonl", FEWER, "trial_damaged"),
    Rule(PLAYING, f"{IN_FLIGHT}/built.json", EQUAL),
    Rule(PLAYING, f"{IN_FLIGHT}/result.json", EQUAL, "trial_damaged", deleted_event="trial_damaged"),
    Rule(CONTEST, f"{IN_FLIGHT}/games.jsonl", FEWER, "trial_damaged"),
    Rule(CONTEST, f"{IN_FLIGHT}/model.onnx", EQUAL, "trial_damaged", deleted_event="trial_damaged"),
    Rule(CONTEST, f"{IN_FLIGHT}/final.pt", EQUAL, "trial_damaged", deleted_event="trial_damaged"),
    Rule(CONTEST, f"{IN_FLIGHT}/built.json", EQUAL),
    Rule(BETWEEN, "checkpoint.json", EQUAL, "checkpoint_damaged", folder=IN_THE_WAY),
    Rule(BETWEEN, "checkpoint.previous.json", EQUAL, folder=IN_THE_WAY),
    Rule(BETWEEN, "config.yaml", EQUAL, folder=IN_THE_WAY),
    Rule(BETWEEN, "models/active.json", EQUAL, folder=IN_THE_WAY),
    Rule(BETWEEN, "models/*.*", TOLD),  # an earlier version's: LEFT
    Rule(CHARTED, "study.db", EQUAL, folder=AROUND),
    Rule(BETWEEN, "supervisor.lock", EQUAL, folder=IN_THE_WAY),
    Rule(BETWEEN, "events.jsonl", EQUAL),  # here nothing is said behind it: a folder is not noticed
    Rule(ASKED, "requests/*.json", WITHOUT, "request_ignored"),
)
IMAGES = {rule.image.name: rule.image for rule in RULES}


def rule_of(image: Image, name: str) -> Rule | None:
    return next((rule for rule in RULES if rule.image == image and fnmatch(name, rule.files)), None)


def points(scratch: Path, folder: Path) -> Sequence[str]:
    """ "IMAGE FILE WAY", the files that each rule is about."""
    reference(UNASKED, scratch)  # here, so that every point finds it made
    found = []
    for image in IMAGES.values():
        run_dir = image.make(scratch)
        for path in sorted(path for path in run_dir.rglob("*") if path.is_file()):
            name = str(path.relative_to(run_dir))
            if rule_of(image, name) is not None:
                found += [f"{image.name} {name} {way}" for way in ways(path.read_bytes(), FLIPS)]
    return found


def check(scratch: Path, point: str, folder: Path) -> int:
    image_name, name, way = point.split(" ", 2)
    image = IMAGES[image_name]
    run_dir = folder / "run"
    shutil.copytree(image.make(scratch), run_dir)
    path = run_dir / name
    data = path.read_bytes()
    rule = rule_of(image, name)
    assert rule is not None
    outcome = _outcome(rule, run_dir, path, way)
    harm(path, way)
    if outcome in (TOLD, IN_THE_WAY):
        must_tell(image.scenario, run_dir, path, (DamagedStateError if outcome == TOLD else UsageError).exit_code)
        put_back(path, data)
    elif outcome == AROUND:
        image.scenario.run(run_dir)
        path.rmdir()
    image.scenario.run(run_dir)
    if outcome == WITHOUT and path.is_file():
        path.unlink()  # it was left where it is
    expected = reference(UNASKED if outcome == WITHOUT else image.scenario, scratch).expected
    found = picture(run_dir)
    if outcome == FEWER:
        _assert_fewer(found.get(name, ""), expected[name], ALL_PHASES if image == CONTEST else {"screen"})
    left_out = {name} if outcome in (LEFT, FEWER, WITHOUT) else set()
    assert_same(comparable(found, left_out), comparable(expected, left_out))
    if outcome in (EQUAL, FEWER, WITHOUT):
        _assert_said(run_dir, rule, data, way)
    return 1


def _outcome(rule: Rule, run_dir: Path, path: Path, way: str) -> str:
    if way == FOLDER and rule.folder is not None:
        return rule.folder
    if rule.outcome == TOLD and path.stem not in in_production(run_dir):
        return LEFT
    if rule.outcome == WITHOUT and not _reads_otherwise(path, path.read_bytes(), way):
        return EQUAL
    return rule.outcome


def in_production(run_dir: Path) -> set[str]:
    """The hashes of the incumbents' files."""
    active = ActiveFile.read(run_dir)
    assert active is not None
    return {sha for entry in active.targets.values() for sha in (entry.model_sha256, entry.weights_sha256) if sha}


def must_tell(scenario: Scenario, run_dir: Path, path: Path, exit_code: int, untouched: bool = True) -> str:
    """A start must end with this exit code and name the file and a remedy, leaving everything as it is: the message."""
    before = _everything(run_dir)
    ended = start(scenario, run_dir)
    problems = [f"exit code {ended.code} instead of {exit_code}"] if ended.code != exit_code else []
    if str(path) not in ended.message or not REMEDY.search(ended.message):
        problems.append("names no file and remedy")
    if untouched and _everything(run_dir) != before:
        problems.append("something was changed")
    if problems:
        raise PromiseBrokenError(f"{'; '.join(problems)}: {ended.message}")
    return ended.message


def put_back(path: Path, data: bytes) -> None:
    if path.is_dir():
        path.rmdir()
    path.write_bytes(data)


def _everything(run_dir: Path) -> dict[str, bytes]:
    """Bytes by name, without what every start writes."""
    files = (path for path in run_dir.rglob("*") if path.is_file())
    found = {str(path.relative_to(run_dir)): path.read_bytes() for path in files}
    return {name: data for name, data in found.items() if not name.startswith(OF_A_START)}


def _assert_fewer(found: str, expected: str, needless: set[str]) -> None:
    """Only lines of phases that have their result may be missing, and there are no others."""
    ours, theirs = set(found.splitlines()), set(expected.splitlines())
    missing = {json.loads(line)["phase"] for line in theirs - ours} - needless
    if ours - theirs or missing:
        others = len(ours - theirs)
        raise PromiseBrokenError(f"games.jsonl: lines of {sorted(missing)} are missing, {others} are others")


def comparable(found: Picture, left_out: set[str]) -> Picture:
    """The order of lines in games.jsonl says only which were played again."""
    return {
        name: "\n".join(sorted(content.splitlines())) if name.endswith("games.jsonl") else content
        for name, content in found.items()
        if name not in left_out
    }


def _assert_said(run_dir: Path, rule: Rule, data: bytes, way: str) -> None:
    event = rule.deleted_event if way == DELETED else rule.event
    if event is None or not _reads_otherwise(Path(rule.files), data, way):
        return
    if event not in events(run_dir):
        raise PromiseBrokenError(f"no event {event}: {events(run_dir)}")


def events(run_dir: Path) -> list[str]:
    path = run_dir / EVENTS_NAME
    return [json.loads(line)["event"] for line in path.read_bytes().splitlines()] if path.is_file() else []


def _reads_otherwise(path: Path, data: bytes, way: str) -> bool:
    """Whether it shows that the file is not as it was written. A line that is not finished was never written."""
    after = harmed(data, way)
    if after is None:
        return True
    if path.suffix == ".jsonl":
        return any(_decoded(sealed.decode_line, line) is None for line in after.split(b"\n")[:-1])
    if path.suffix == ".json":
        return _decoded(sealed.decode, after) != _decoded(sealed.decode, data)
    return after != data


def _decoded(decode: Callable[[bytes], dict[str, Json]], data: bytes) -> dict[str, Json] | None:
    try:
        return decode(data)
    except sealed.DamagedFileError:
        return None


def cells(scratch: Path) -> list[Cell]:
    return [Cell("damaged files", TIER_A, PROMISE, partial(points, scratch), partial(check, scratch), reduced=8)]
