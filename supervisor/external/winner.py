"""A promoted configuration goes into the user's own file: a projection, done once per version."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from supervisor.contract import Version
from supervisor.external import in_place
from supervisor.external.config_text import decode, edit
from supervisor.external.leaf import ConfigTextError
from supervisor.journal import durable


@dataclass(frozen=True)
class Written:
    """`done`: the version need not be written again. `notes` are texts of events, empty where nothing is to be said."""

    done: bool
    changed: bool = False
    notes: tuple[str, ...] = ()


def write_winner(config_file: Path, format_name: str, version: Version, marker: Path) -> Written:
    """Write the version's values into the user's file, comments kept; what a killed trial left there is undone first.

    `marker` is a small file of ours that names the version written last: a version is written once, so that what a
    user changes afterwards stays. Killed in between, it is done again with the same outcome. Never raises for what is
    wrong with the user's file: the note says it, and the next call tries again.
    """
    mark = {"schema": 1, "version": version.name, "config_sha256": version.model_sha256}
    try:
        notes = in_place.restore_leftovers([config_file])
        if _read(marker) == mark:
            return Written(done=True, notes=tuple(notes))
        with in_place.exclusive(config_file) as ours:
            if not ours:
                return Written(False, notes=(*notes, f"{config_file}: a trial is using it; written after that"))
            changed = _write(in_place.real_path(config_file), format_name, version)
    except ConfigTextError as error:
        return Written(False, notes=tuple(_not_written(config_file, version, problem) for problem in error.problems))
    except OSError as error:
        return Written(False, notes=(_not_written(config_file, version, str(error)),))
    durable.make_folder(marker.parent)
    durable.write_json(marker, mark)
    told = [f"{config_file}: holds the values of {version.name} now"] if changed else []
    return Written(True, changed, (*notes, *told))


def _write(path: Path, format_name: str, version: Version) -> bool:
    before = path.read_bytes()
    after = edit(decode(before), format_name, version.params).encode()
    if after == before:
        return False
    in_place.write_file(path, after, in_place.Owner.of(path))
    return True


def _not_written(path: Path, version: Version, problem: str) -> str:
    return (
        f"{path}: {problem}; the values of {version.name} are not in the file; correct it, the next trial's end or"
        " start of the run writes them"
    )


def _read(marker: Path) -> object:
    try:
        return json.loads(marker.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
