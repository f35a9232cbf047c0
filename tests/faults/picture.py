"""What of a run folder must be the same after a fault: bytes where they are promised, names of everything left."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from supervisor.journal import durable
from supervisor.search.projection import SQLITE_FILES, STUDY_DB
from tests.faults.cell import PromiseBrokenError

# What attempts leave of themselves: what failed and when, not what came out of it.
OF_ATTEMPTS = re.compile(
    r"events\.jsonl.*|training_\d{8}_\d{6}.*\.log|supervisor\.lock|run\.json|checkpoint\.previous\.json"
    r"|trials/\d+/(facts\.jsonl|stderr\.log|heartbeat)|external/.*|serving/.*|requests|resources\.json"
)
OF_CLOCKS = frozenset({"time", "seconds", "latency", "checksum", "check"})  # and what was computed over those
Picture = Mapping[str, str]


def picture(run_dir: Path) -> Picture:
    """Name of every file that a finished run leaves to what it holds, less what attempts leave of themselves."""
    found: dict[str, str] = {}
    for path in sorted(run_dir.rglob("*")):
        name = str(path.relative_to(run_dir))
        if path.is_dir() or OF_ATTEMPTS.fullmatch(name) or name in SQLITE_FILES:
            continue
        found[name] = _content(path, name)
    if (run_dir / STUDY_DB).exists():
        found[STUDY_DB] = _trials(run_dir / STUDY_DB)
    return found


def assert_same(found: Picture, expected: Picture) -> None:
    """Raises PromiseBrokenError with every difference."""
    problems = [f"left behind: {name}" for name in sorted(found.keys() - expected.keys())]
    problems += [f"missing: {name}" for name in sorted(expected.keys() - found.keys())]
    for name in sorted(found.keys() & expected.keys()):
        if found[name] != expected[name]:
            problems.append(f"differs: {name}\n{_first_difference(found[name], expected[name])}")
    if problems:
        raise PromiseBrokenError("\n".join(problems))


def _content(path: Path, name: str) -> str:
    if path.suffix == ".jsonl":
        return "\n".join(_without_time(json.loads(line)) for line in path.read_bytes().splitlines())
    if path.suffix == ".json":
        return _without_time(json.loads(path.read_bytes()))
    return path.read_text() if path.suffix == ".yaml" else durable.sha256_file(path)


def _without_time(value: object) -> str:
    """Canonical JSON without what a clock said, at whatever depth, and without a checksum over it."""
    return durable.canonical_json(_strip(value)).decode()


def _strip(value: object) -> object:
    if isinstance(value, dict):
        return {key: _strip(item) for key, item in value.items() if not _told_by_a_clock(key, item)}
    return [_strip(item) for item in value] if isinstance(value, list) else value


def _told_by_a_clock(key: str, value: object) -> bool:
    return key in OF_CLOCKS or ("latency_ms" in key and isinstance(value, float))  # a guard's verdict is a dict


def _trials(path: Path) -> str:
    """The dashboard's trials: state, value and parameters, by study and iteration."""
    query = (
        "select studies.study_name, attrs.value_json, trials.state, objective.value, count(params.param_id),"
        " total(params.param_value) from trials join studies using (study_id)"
        " left join trial_user_attributes attrs on attrs.trial_id = trials.trial_id and attrs.key = 'iteration'"
        " left join trial_values objective on objective.trial_id = trials.trial_id"
        " left join trial_params params on params.trial_id = trials.trial_id"
        " group by trials.trial_id order by studies.study_name, cast(attrs.value_json as integer), trials.trial_id"
    )
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return "\n".join(str(row) for row in connection.execute(query))


def _first_difference(found: str, expected: str) -> str:
    for number, (one, other) in enumerate(zip(found.splitlines(), expected.splitlines(), strict=False), start=1):
        if one != other:
            at = next((index for index, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), 0)
            start = max(0, at - 60)
            return f"  line {number}\n  found    ...{one[start : at + 100]}\n  expected ...{other[start : at + 100]}"
    return f"  {len(found.splitlines())} lines found, {len(expected.splitlines())} expected"
