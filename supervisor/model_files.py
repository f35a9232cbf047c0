"""Model files that somebody or a disk has damaged: noticed before a trial is made from them, and told to the operator.

A version's files are the only thing of a run that no other file gives back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from supervisor.contract import Reason, Version
from supervisor.errors import DamagedStateError
from supervisor.flight import Flight
from supervisor.journal import requests
from supervisor.journal.requests import Action
from supervisor.memory import Memory
from supervisor.parts import Parts
from supervisor.registry import server_rollbacks
from supervisor.registry.store import MODEL_SUFFIX, WEIGHTS_SUFFIX, ModelStore

CHANGES = frozenset({Action.ROLLBACK, Action.PROMOTE})


class ModelFiles:
    """Whether the files that the loop builds on are as they were stored."""

    def __init__(self, parts: Parts, memory: Memory) -> None:
        self._parts = parts
        self._memory = memory

    def check_incumbents(self, flights: Sequence[Flight]) -> None:
        """Of every target that is searched. Raises DamagedStateError, unless the operator has asked for another
        version of that target."""
        for key in self._parts.definitions:
            incumbent = self._memory.state.target(key).incumbent
            if incumbent is not None and not self._is_being_changed(key, flights):
                self._refuse(key, _files(incumbent))

    def are_whole(self, flight: Flight, flights: Sequence[Flight]) -> bool:
        """Of the versions that the trial's next process reads. Where they are not, raises DamagedStateError; or answers
        False where the operator has asked for another version, so that the trial must not stand in the way."""
        key = flight.spec.target
        if not self._is_being_changed(key, flights):
            self._refuse(key, _read_by(flight))
        return not any(True for _ in _damaged(self._parts.store, _read_by(flight)))

    def could_not_be_read(self, flight: Flight) -> bool:
        """Whether the trial says so."""
        result = flight.folder.result()
        return result is not None and result.reason is Reason.UNKNOWN_VERSION

    def _is_being_changed(self, key: str, flights: Sequence[Flight]) -> bool:
        waiting, _ = requests.waiting(self._parts.run_dir)
        asked = any(request.target == key and request.action in CHANGES for request in waiting)
        return (
            asked
            or self._went_back(key)
            or any(flight.spec.target == key and flight.spec.purpose == "manual" for flight in flights)
        )

    def _went_back(self, key: str) -> bool:
        """Whether the server serves another version than the incumbent already."""
        target, found = self._memory.state.target(key), server_rollbacks.read(self._parts.run_dir)
        waiting = server_rollbacks.judge(found.entries, {key: target}).waiting
        return target.incumbent is not None and any(entry.version == target.incumbent.name for entry in waiting)

    def _refuse(self, key: str, files: Iterable[tuple[Version, str]]) -> None:
        for version, path in _damaged(self._parts.store, files):
            target = self._memory.state.target(key)
            way_back = target.ways_back if version == target.incumbent else []
            otherwise = f", or go back to {way_back[0]}: incumbent rollback {key}" if way_back else ""
            what = "is not the file that was stored" if path.exists() else "is missing"
            raise DamagedStateError(
                f"{path}: {what}; {version.name} of {key} needs it. Put a copy of it back{otherwise}"
            )


def _files(version: Version) -> Iterator[tuple[Version, str]]:
    """The version with the suffix of each file that it has in the store."""
    if version.interface is not None:
        yield version, MODEL_SUFFIX
        if version.weights_sha256 is not None:
            yield version, WEIGHTS_SUFFIX


def _read_by(flight: Flight) -> Iterator[tuple[Version, str]]:
    duel = flight.folder.duel()
    for opponent in (flight.spec.incumbent, duel.incumbent if duel is not None else None):
        if opponent is not None and opponent.interface is not None:
            yield opponent, MODEL_SUFFIX
    if flight.spec.start is not None and flight.spec.start.weights_sha256 is not None:
        yield flight.spec.start, WEIGHTS_SUFFIX


def _damaged(store: ModelStore, files: Iterable[tuple[Version, str]]) -> Iterator[tuple[Version, Path]]:
    for version, suffix in files:
        sha256 = version.model_sha256 if suffix == MODEL_SUFFIX else version.weights_sha256
        if sha256 is not None and not store.verify(sha256, suffix):
            yield version, store.path(sha256, suffix)
