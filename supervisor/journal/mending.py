"""A trial's folder of which something is damaged: that goes, and with it all that was made from it.

A trial is a function of its proposal, so what goes is made again as it was. What cannot be asked again stands in lines
(games.jsonl, facts.jsonl), of which only the damaged ones go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from supervisor.contract import Json, Reason, Status, TrialResult
from supervisor.journal import durable, removal, sealed
from supervisor.journal.trial_folder import (
    DUEL_NAME,
    DUEL_RESULT_NAME,
    FACTS_NAME,
    GAMES_NAME,
    RESULT_NAME,
    RESUME_NAMES,
    SPEC_NAME,
    DamagedTrialError,
    TrialFolder,
    as_fact,
)


@dataclass(frozen=True)
class Mended:
    """A sentence for everything that was damaged. Without its proposal nothing of a trial is left but its facts."""

    problems: tuple[str, ...]
    proposal_lost: bool


def mend(folder: TrialFolder) -> Mended:
    """Called again after a crash in between, it comes to the same end."""
    facts, spec = [*_mend_facts(folder)], [*_mend_spec(folder)]
    rest = [] if spec else [*_mend_stages(folder), *_mend_games(folder), *_mend_rest(folder)]
    return Mended((*facts, *spec, *rest), bool(spec))


def _mend_facts(folder: TrialFolder) -> Iterator[str]:
    path = folder.path / FACTS_NAME
    if _clear_folder(path):
        yield f"{path}: a folder was in its place"
        return
    found = sealed.read_lines(path, as_fact)
    if found.damaged:
        # The line may have said that training began anew under other library versions: only step 0 is certain.
        folder.forget_resume_point()
        sealed.drop_damaged_lines(path, as_fact)
        yield f"{path}: {_lines(found.damaged)}; an unfinished build starts from step 0"


def _mend_spec(folder: TrialFolder) -> Iterator[str]:
    try:
        lost = folder.spec() is None and any(_is_of_a_trial(path) for path in _entries(folder))
        what = f"{folder.path / SPEC_NAME} is missing"
    except DamagedTrialError as error:
        lost, what = True, str(error)
    if lost:  # the file itself stays until it is written again: it says that there is something to make good
        yield what
        yield from _remove(path for path in _entries(folder) if path.name not in (FACTS_NAME, SPEC_NAME))
        _clear_folder(folder.path / SPEC_NAME)


def _mend_stages(folder: TrialFolder) -> Iterator[str]:
    """From the first stage on; the files of a later one are removed before those of an earlier one."""
    try:
        result = folder.result()
        problem = _problem(folder, result)
    except DamagedTrialError as error:
        problem = str(error)
    if problem is not None:
        yield problem
        yield from _remove(folder.path / name for name in (DUEL_RESULT_NAME, DUEL_NAME, RESULT_NAME))
    try:
        folder.duel()
    except DamagedTrialError as error:
        yield str(error)
        yield from _remove(folder.path / name for name in (DUEL_RESULT_NAME, DUEL_NAME))
    try:
        folder.duel_result()
    except DamagedTrialError as error:
        yield str(error)
        yield from _remove([folder.path / DUEL_RESULT_NAME])


def _problem(folder: TrialFolder, result: TrialResult | None) -> str | None:
    """Why a result that can be read is of no use, or what stands there without one."""
    if result is None:
        orphaned = any((folder.path / name).exists() for name in (DUEL_NAME, DUEL_RESULT_NAME))
        return f"{folder.path / RESULT_NAME} is missing; it is made again" if orphaned else None
    if result.reason is Reason.UNKNOWN_VERSION:
        return f"{folder.path}: the trial found a version's file missing or damaged; it runs again"
    if result.status is not Status.COMPLETE or result.interface is None:
        return None
    for path, sha256 in ((folder.model, result.model_sha256), (folder.weights, result.weights_sha256)):
        if sha256 is not None and not (path.is_file() and durable.sha256_file(path) == sha256):
            return f"{path} is missing or is not what the trial built; it is built again"
    return None


def _mend_games(folder: TrialFolder) -> Iterator[str]:
    path = folder.path / GAMES_NAME
    if _clear_folder(path):
        yield f"{path}: a folder was in its place; games that are still needed are played again"
        return
    found = sealed.drop_damaged_lines(path, _any)
    if found.damaged:
        yield f"{path}: {_lines(found.damaged)}; games that are still needed are played again"


def _mend_rest(folder: TrialFolder) -> Iterator[str]:
    """What a trial reads and knows to be damaged by itself, if it can be read at all."""
    for path in (folder.path / name for name in sorted(RESUME_NAMES)):
        if _clear_folder(path):
            yield f"{path}: a folder was in its place"


def _any(line: dict[str, Json]) -> dict[str, Json]:
    return line


def _lines(damaged: tuple[int, ...]) -> str:
    named = ", ".join(map(str, damaged))
    return f"line {named} was damaged and is gone" if len(damaged) == 1 else f"lines {named} were damaged and are gone"


def _is_of_a_trial(path: Path) -> bool:
    """Not of one that was killed before its proposal was written: that left its facts and a half-written file."""
    return path.name != FACTS_NAME and not path.name.startswith(".")


def _entries(folder: TrialFolder) -> list[Path]:
    return sorted(folder.path.iterdir())


def _clear_folder(path: Path) -> bool:
    """Whether a folder stood where a file belongs."""
    if not path.is_dir():
        return False
    removal.clear_place(path)
    return True


def _remove(paths: Iterator[Path] | list[Path]) -> Iterator[str]:
    """A sentence for everything that had to be moved aside."""
    for path in paths:
        if not path.is_dir():
            durable.remove(path)
        elif problem := removal.clear_place(path):
            yield problem
