"""The log torn at every byte of its last line, and any of its lines changed, cut or gone."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from supervisor.contract import parse
from supervisor.errors import DamagedStateError
from supervisor.journal import checkpoint
from supervisor.journal.log import LOG_NAME
from supervisor.record import Record
from tests.faults.cell import TIER_A, Cell, PromiseBrokenError
from tests.faults.damaged import EQUAL, LEFT, PROMISE, TOLD, events, must_tell
from tests.faults.harm import FOLDER, harmed, ways
from tests.faults.images import BETWEEN, DAMAGED
from tests.faults.killed import SAME
from tests.faults.picture import assert_same, picture
from tests.faults.scenario import SHORT, reference

FLIPS = 30
BYTES_PER_POINT = 8
REMOVE = re.compile(r"remove all lines from iteration (\d+) on")
OTHER_RUN = "give each run a folder of its own"
MOVE = "move the file aside"


def torn_points(scratch: Path, folder: Path) -> Sequence[str]:
    """First byte that is missing, from the whole line down to none of it; several bytes to a point."""
    *_, last = _log_of_the_short_run(scratch).splitlines(keepends=True)
    return [str(first) for first in range(0, len(last), BYTES_PER_POINT)]


def check_torn(scratch: Path, point: str, folder: Path) -> int:
    """Every run from a torn line ends as if the line had never been begun."""
    log = _log_of_the_short_run(scratch)
    *_, last = log.splitlines(keepends=True)
    cuts = range(int(point), min(int(point) + BYTES_PER_POINT, len(last)))
    for cut in cuts:
        run_dir = folder / f"run{cut}"
        shutil.copytree(_finished_short_run(scratch), run_dir)
        (run_dir / LOG_NAME).write_bytes(log[: len(log) - len(last) + cut])
        for path in run_dir.glob("checkpoint*"):
            path.unlink()  # they are written behind the line
        SHORT.run(run_dir)
        assert_same(picture(run_dir), reference(SHORT, scratch).expected)
        if ("torn_line" in events(run_dir)) != (cut > 0):
            raise PromiseBrokenError(f"cut at byte {cut}: events {events(run_dir)}")
        shutil.rmtree(run_dir)
    return len(cuts)


def _finished_short_run(scratch: Path) -> Path:
    return reference(SHORT, scratch).base.with_name("run")


def _log_of_the_short_run(scratch: Path) -> bytes:
    return (_finished_short_run(scratch) / LOG_NAME).read_bytes()


def line_points(scratch: Path, folder: Path) -> Sequence[str]:
    """ "LINE WAY" of the first line, one that the snapshot covers, and those behind it."""
    lines = _lines(BETWEEN.make(scratch))
    chosen = [1, 4, *range(len(lines) - 1, len(lines) + 1)]
    return [f"{number} {way}" for number in chosen for way in ways(lines[number - 1], FLIPS) if way != FOLDER]


def check_line(scratch: Path, point: str, folder: Path) -> int:
    number_text, _, way = point.partition(" ")
    number, run_dir = int(number_text), folder / "run"
    shutil.copytree(BETWEEN.make(scratch), run_dir)
    log = run_dir / LOG_NAME
    whole = log.read_bytes()
    lines = _lines(run_dir)
    lines[number - 1] = harmed(lines[number - 1], way) or b""
    log.write_bytes(b"".join(lines))
    expected = reference(DAMAGED, scratch).expected
    outcome = _outcome(run_dir, whole, number)
    if outcome == TOLD:
        message = must_tell(DAMAGED, run_dir, log, DamagedStateError.exit_code)
        _as_it_says(scratch, folder, message)
        log.write_bytes(whole)
        outcome = EQUAL
    DAMAGED.run(run_dir)
    if outcome == LEFT:  # as somebody changed it: that line is not compared, nor one that it runs into
        left_out = {number} if lines[number - 1].endswith(b"\n") or not lines[number - 1] else {number, number + 1}
        log.write_bytes(b"".join(line for line in _lines(run_dir) if _iteration(line) not in {None, *left_out}))
        kept = [line for line in expected[LOG_NAME].splitlines() if _iteration(line.encode()) not in left_out]
        expected = {**expected, LOG_NAME: "\n".join(kept)}
    assert_same(picture(run_dir), expected)
    return 1


def _outcome(run_dir: Path, whole: bytes, number: int) -> str:
    """What must come of the log as it is now. A line that the snapshot covers decides nothing as long as it is one."""
    data = (run_dir / LOG_NAME).read_bytes()
    if whole.startswith(data) and b"\n" not in whole[len(data) : -1]:
        return EQUAL  # the last line torn, or gone altogether
    if b"\0" in data[data[:-1].rfind(b"\n") + 1 :]:
        return EQUAL  # a length without its data, as a power cut leaves it, is torn too
    before, after = whole.splitlines(), data.split(b"\n")
    torn = after.pop() != b""
    snapshot, _ = checkpoint.load(run_dir)
    assert snapshot is not None
    found = [_record(line) for line in after]
    if torn and len(after) == len(before) - 1 and None not in found:
        return EQUAL
    if None in found[1:] or (found[0] is None and (number != 1 or _is_json(after[0]))):
        return TOLD
    covered = number <= snapshot.iteration
    if found[0] is None or len(after) < len(before):
        return LEFT if covered else TOLD
    line, original = json.loads(after[number - 1]), json.loads(before[number - 1])
    if line["run_id"] != original["run_id"]:
        return TOLD
    same = {**line, "time": None} == {**original, "time": None}
    return LEFT if covered or same else TOLD


def _record(line: bytes) -> Record | None:
    try:
        return parse(Record, json.loads(line))
    except ValueError:
        return None


def _iteration(line: bytes) -> int | None:
    return int(json.loads(line)["iteration"]) if _is_json(line) else None


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _as_it_says(scratch: Path, folder: Path, message: str) -> None:
    """The way out that needs no copy: the run comes to the same end, without lines that were moved aside."""
    run_dir, log = folder / "otherwise", folder / "otherwise" / LOG_NAME
    shutil.copytree(folder / "run", run_dir)
    removed = REMOVE.search(message)
    first = 1
    if removed is not None:
        lines = _lines(run_dir)
        kept = [line for line in lines if json.loads(line)["iteration"] < int(removed[1])]
        log.write_bytes(b"".join(kept))
    elif MOVE in message:
        snapshot, _ = checkpoint.load(run_dir)
        assert snapshot is not None
        first = snapshot.iteration + 1
        log.rename(folder / "aside")
    elif OTHER_RUN in message:
        return  # no line of a run of another name can be told from a changed one
    else:
        raise PromiseBrokenError(f"no way out but a copy: {message}")
    DAMAGED.run(run_dir)
    found, expected = picture(run_dir), reference(DAMAGED, scratch).expected
    assert_same(found, {**expected, LOG_NAME: "\n".join(expected[LOG_NAME].splitlines()[first - 1 :])})


def _lines(run_dir: Path) -> list[bytes]:
    return (run_dir / LOG_NAME).read_bytes().splitlines(keepends=True)


def cells(scratch: Path) -> list[Cell]:
    torn, changed = "torn log line", "changed log line"
    return [
        Cell(torn, TIER_A, SAME, partial(torn_points, scratch), partial(check_torn, scratch), reduced=2),
        Cell(changed, TIER_A, PROMISE, partial(line_points, scratch), partial(check_line, scratch), reduced=4),
    ]
