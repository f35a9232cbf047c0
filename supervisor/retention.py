"""What a run folder needs and what may go: the rule for model files, and a look over the whole folder.

Nothing here decides a result, and what is done twice changes nothing: a crash in between is healed by the next start.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from supervisor.config.settings import Settings
from supervisor.contract import TrialSpec, Version
from supervisor.deciding import version_name
from supervisor.execution.resource_note import NAME as RESOURCES_NAME
from supervisor.journal import durable, removal, requests
from supervisor.journal.checkpoint import CHECKPOINT_NAME, PREVIOUS_NAME
from supervisor.journal.identity import RUN_NAME
from supervisor.journal.trial_folder import DamagedTrialError, all_folders, set_aside
from supervisor.registry.active import ACTIVE_NAME, ActiveFile, DamagedActiveError
from supervisor.registry.store import FOLDER_NAME as MODELS_NAME
from supervisor.registry.store import ModelStore
from supervisor.state import State, TargetState

CONSOLE_LOG = re.compile(  # of one start, as written or as logrotate names it
    r"training_(\d{8}_\d{6})([-.]\d+)*\.log([-.]\d+)*(\.(gz|xz|zst|bz2))?"
)
TEMPORARY = (
    *(f".{name}.tmp" for name in (RUN_NAME, CHECKPOINT_NAME, PREVIOUS_NAME, RESOURCES_NAME)),
    *(f".{name}.tmp" for name in ("config.yaml", "cycle.json")),
    "experiences/.retention.json.tmp",
    f"{MODELS_NAME}/.{ACTIVE_NAME}.tmp",
)
REQUEST_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.json\.tmp")
STALE_S = 3600.0  # a command that drops a request takes no longer to write it


class Kind(StrEnum):
    """What can be needless, as people are told."""

    TRIALS = "trial folders"
    REMAINS = "files of ended trials"
    MODELS = "model files"
    CONSOLES = "console logs"
    TEMPORARY = "temporary files"


@dataclass(frozen=True)
class Limits:
    """How many are kept; the settings `run.retention_*`."""

    trials: int
    versions: int
    console_logs: int

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        run = settings.run
        return cls(run.retention_trials, run.retention_versions, run.retention_console_logs)


@dataclass(frozen=True)
class Needless:
    """A file or folder that may go. `bytes` is what it takes on the disk."""

    kind: Kind
    path: Path
    bytes: int

    def remove(self) -> str:
        """A sentence where it would not go."""
        if self.path.is_dir() and not self.path.is_symlink():
            return removal.remove_tree(self.path)
        try:
            durable.remove(self.path)
        except PermissionError as error:
            return f"{self.path}: could not be removed ({error.strerror}); nothing needs it, remove it by hand"
        return ""


def needed_files(states: Sequence[State], flying: Iterable[TrialSpec], keep: int) -> frozenset[str]:
    """The hashes of all model and weights files that something may still ask for.

    Those are the incumbents of the last W `states` (newest last) and the versions that half an SPSA pair started from
    there, the versions that trials in flight start from or play, and of each target the last `keep` versions made and
    the last `keep` that a rollback could go back to. Not the version that a manual change in flight names: whether its
    files are there when its line comes would depend on when it was proposed, and with that on the number of workers.
    """
    files: list[Version | None] = []
    for state in states:
        for target in state.targets.values():
            files.append(target.incumbent)
            files.append(_start_of_half(target))
    for target in states[-1].targets.values():
        files += [target.versions.get(name) for name in _latest(target, keep)]
    for spec in flying:
        files += [spec.incumbent, spec.start]
    return frozenset(
        sha256
        for version in files
        if version is not None
        for sha256 in (version.model_sha256, version.weights_sha256)
        if sha256 is not None
    )


def _start_of_half(target: TargetState) -> Version | None:
    half = target.search.spsa.open
    return None if half is None or half.note.start is None else target.versions.get(half.note.start)


def _latest(target: TargetState, keep: int) -> list[str]:
    """Names of the versions made last and of those that were incumbent last and may come back."""
    made = sorted(target.versions, key=lambda name: target.versions[name].iteration)
    return [*made[-keep:], *target.ways_back[:keep]]


def is_kept(state: State, iteration: int) -> bool:
    """Whether an iteration keeps its trial folder for good: it made a version."""
    name = version_name(iteration)
    return any(name in target.versions for target in state.targets.values())


def needless(run_dir: Path, states: Sequence[State], limits: Limits, spare: Path | None = None) -> list[Needless]:
    """All that may go, in the order of kinds. `spare` is the console log of this very start."""
    return [
        *_needless_trials(run_dir, states[-1], limits.trials),
        *_needless_models(run_dir, states, limits.versions),
        *(Needless(Kind.CONSOLES, path, _size(path)) for path in old_console_logs(run_dir, limits.console_logs, spare)),
        *(Needless(Kind.TEMPORARY, path, _size(path)) for path in _temporary(run_dir)),
    ]


def _needless_trials(run_dir: Path, state: State, keep: int) -> Iterator[Needless]:
    yield from (Needless(Kind.REMAINS, path, _size(path)) for path in set_aside(run_dir))
    for folder in all_folders(run_dir):
        if folder.iteration > state.iteration:
            continue  # in flight, or a leftover that the loop judges
        if folder.iteration <= state.iteration - keep and not is_kept(state, folder.iteration):
            yield Needless(Kind.TRIALS, folder.path, _size(folder.path))
        else:
            yield from (Needless(Kind.REMAINS, path, _size(path)) for path in folder.remains())


def _needless_models(run_dir: Path, states: Sequence[State], keep: int) -> Iterator[Needless]:
    flying, active = in_flight(run_dir, states[-1].iteration), _in_production(run_dir)
    if flying is not None and active is not None:
        for path in ModelStore(run_dir).unneeded(needed_files(states, flying, keep) | active):
            yield Needless(Kind.MODELS, path, _size(path))


def _in_production(run_dir: Path) -> set[str] | None:
    """The files that `active.json` names, whatever the log says; None where nobody can tell."""
    try:
        active = ActiveFile.read(run_dir) or ActiveFile()
    except DamagedActiveError:
        return None
    return {sha for entry in active.targets.values() for sha in (entry.model_sha256, entry.weights_sha256) if sha}


def in_flight(run_dir: Path, committed: int) -> list[TrialSpec] | None:
    """What the trials behind the last line were told; None where one cannot be read, so nobody knows what it needs."""
    try:
        found = [folder.spec() for folder in all_folders(run_dir) if folder.iteration > committed]
    except DamagedTrialError:
        return None
    return [spec for spec in found if spec is not None]


def old_console_logs(run_dir: Path, keep: int, spare: Path | None = None) -> list[Path]:
    """The logs of all but the last `keep` starts, rotated and compressed ones too."""
    starts: dict[str, list[Path]] = {}
    for path in sorted(run_dir.glob("training_*")):
        name = CONSOLE_LOG.fullmatch(path.name)
        if name is not None and path != spare:
            starts.setdefault(name[1], []).append(path)
    others = max(0, keep - (spare is not None))
    return [path for start in sorted(starts)[: max(0, len(starts) - others)] for path in starts[start]]


def _temporary(run_dir: Path) -> Iterator[Path]:
    """What a killed writer left under a name that nothing else has; of requests only those nobody can be writing."""
    yield from (path for name in TEMPORARY if (path := run_dir / name).exists())
    folder = run_dir / requests.FOLDER_NAME
    with contextlib.suppress(PermissionError):  # whose requests they are is not for this user to know
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if REQUEST_TEMPORARY.fullmatch(path.name) and time.time() - path.stat().st_mtime > STALE_S:
                yield path


def _size(path: Path) -> int:
    """What a file, or all files of a folder, take on the disk."""
    files = [path]
    if path.is_dir() and not path.is_symlink():
        files = [Path(folder) / name for folder, _, names in os.walk(path) for name in names]
    return sum(file.lstat().st_blocks * 512 for file in files)
