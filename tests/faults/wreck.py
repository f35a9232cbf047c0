"""What holds of a run folder at the very moment of a crash, before anything recovers it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from supervisor.contract import Version
from supervisor.journal import checkpoint
from supervisor.journal.log import read_log
from supervisor.journal.recovery import known_incumbents, known_versions
from supervisor.registry.active import ActiveFile
from supervisor.registry.store import WEIGHTS_SUFFIX, ModelStore
from tests.faults.cell import PromiseBrokenError


def assert_sound(run_dir: Path) -> None:
    """No file is half written, what the log names is there, and production serves nothing that the log does not know.

    Raises PromiseBrokenError with everything that is otherwise.
    """
    problems = [*_half_written(run_dir), *_missing_files(run_dir), *_unknown_in_production(run_dir)]
    if problems:
        raise PromiseBrokenError("at the moment of the crash\n" + "\n".join(problems))


def _half_written(run_dir: Path) -> Iterator[str]:
    yield from checkpoint.load(run_dir)[1]
    yield from (f"line {iteration} does not follow the one before" for iteration in read_log(run_dir).breaks)


def _missing_files(run_dir: Path) -> Iterator[str]:
    for target, version in known_incumbents(run_dir).items():
        yield from (f"the log names {name} of {target}, not in the store" for name in _missing(run_dir, version))


def _unknown_in_production(run_dir: Path) -> Iterator[str]:
    active, known = ActiveFile.read(run_dir), known_versions(run_dir)
    for target, entry in active.targets.items() if active is not None else ():
        if entry.version not in known.get(target, {}):
            yield f"active.json names {entry.version} of {target}, which no line knows"
        yield from (f"active.json names {name}, not in the store" for name in _missing(run_dir, entry.as_version()))


def _missing(run_dir: Path, version: Version) -> Iterator[str]:
    store = ModelStore(run_dir)
    if version.interface is not None and not store.verify(version.model_sha256):
        yield f"model {version.model_sha256}"
    if version.weights_sha256 is not None and not store.verify(version.weights_sha256, WEIGHTS_SUFFIX):
        yield f"weights {version.weights_sha256}"
