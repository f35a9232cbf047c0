"""Which version a target should serve, and whether log or snapshot know it: the server believes no file by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from supervisor.contract import Version
from supervisor.registry import server_rollbacks
from supervisor.registry.active import ActiveEntry, ActiveFile, DamagedActiveError
from supervisor.registry.server_rollbacks import ServerRollback
from supervisor.registry.store import UnreadableFileError
from supervisor.serving.errors import ApiError, Refused, told_without
from supervisor.serving.history import History
from supervisor.state import TargetState

T = TypeVar("T")

KnownVersions = Mapping[str, Mapping[str, Version]]
"""Target key to version name to version."""


class Catalogue:
    """One run folder, looked at anew at each question."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._history = History(run_dir)

    def all_active(self) -> dict[str, Version | Refused]:
        """Every active target that has a model file, with its version or why it cannot be had. Raises ApiError.

        Where the supervisor died between its commit and `active.json`, the log has the newer word; before both goes a
        rollback of the server's that the log does not know yet.
        """
        rollbacks = server_rollbacks.read(self.run_dir).entries  # first: what is consumed meanwhile is in the log then
        known, targets = self._known(), self._targets()
        active = dict(self._active().targets)
        incumbents = ActiveFile.of(_incumbents(targets)).targets
        for target, entry in incumbents.items():
            if target not in active or active[target].version in known.get(target, {}):
                active[target] = entry
        found: dict[str, Version | Refused] = {}
        for target, entry in active.items():
            if entry.interface is None:
                continue  # an external configuration: its program is production, there is nothing to serve
            try:
                standing = _standing(target, entry, targets.get(target, TargetState()), rollbacks)
                if standing is not None:
                    found[target] = self._agreed(target, standing, known)
            except Refused as error:
                found[target] = error
        return found

    def resolve(self, target: str, name: str | None) -> Version:
        """The named version of the target, the active one without a name. Raises ApiError."""
        if name is None:
            rollbacks = server_rollbacks.read(self.run_dir).entries
            entry = self._active().targets.get(target)
            if entry is None:
                raise ApiError(404, "not_active", f"{target[:200]}: active.json names no version of it")
            if any((item.target, item.version) == (target, entry.version) for item in rollbacks):
                entry = _standing(target, entry, self._targets().get(target, TargetState()), rollbacks)
            if entry is None:
                raise ApiError(404, "not_active", f"{target[:200]}: rolled back, with no version left to go back to")
            return self._agreed(target, entry, self._known())
        version = self._known().get(target, {}).get(name)
        if version is None:
            raise ApiError(404, "unknown_version", f"{target[:200]}: log and snapshot know no version {name[:100]!r}")
        if name in self.gone(target):
            raise ApiError(409, "rolled_back", f"{target}: {name} was rolled back and never comes back")
        return version

    def way_back(self, target: str, version: str) -> Version:
        """What was served before that version and may come back. Raises ApiError (409) where there is nothing."""
        state, gone = self._targets().get(target, TargetState()), {*self.gone(target), version}
        history = [*state.history, *([state.incumbent.name] if state.incumbent else ())]
        last = max((at for at, name in enumerate(history) if name == version), default=len(history))
        before = [name for name in reversed(history[:last]) if name not in gone]
        if not before:
            raise ApiError(409, "no_way_back", f"{target}: there is no version before {version} to go back to")
        return state.versions[before[0]]

    def gone(self, target: str) -> set[str]:
        """Names of the target's versions that were rolled back, by the supervisor or here."""
        entries = server_rollbacks.read(self.run_dir).entries
        state = self._targets().get(target, TargetState())
        waiting = server_rollbacks.judge(entries, {target: state}).waiting
        return {*state.rolled_back, *(entry.version for entry in waiting)}

    def _agreed(self, target: str, entry: ActiveEntry, known: KnownVersions) -> Version:
        version = known.get(target, {}).get(entry.version)
        if version is None:
            raise Refused(
                409, "unknown_version", f"active.json names {entry.version}, which log and snapshot do not know"
            )
        if version.model_sha256 != entry.model_sha256:
            raise Refused(
                409, "wrong_hash", f"active.json gives {entry.version} another model file than log and snapshot do"
            )
        return version

    def _active(self) -> ActiveFile:
        try:
            return ActiveFile.read(self.run_dir) or ActiveFile()
        except DamagedActiveError as error:
            raise ApiError(503, "active_damaged", told_without(self.run_dir, error)) from error
        except UnreadableFileError as error:
            raise ApiError(503, "unreadable", told_without(self.run_dir, error), {"Retry-After": "5"}) from error

    def _known(self) -> KnownVersions:
        return self._from_log(self._history.versions)

    def _targets(self) -> Mapping[str, TargetState]:
        return self._from_log(self._history.targets)

    def _from_log(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except Exception as error:  # a log being rotated, damaged or unreadable: whatever is live stays live
            told = told_without(self.run_dir, error)[:300]
            raise ApiError(503, "log_unreadable", f"log and snapshot cannot be read: {told}") from error


def _standing(
    target: str, entry: ActiveEntry, state: TargetState, rollbacks: Sequence[ServerRollback]
) -> ActiveEntry | None:
    """What is active where `active.json` names `entry`: that, or what was gone back to."""
    active: str | None = entry.version
    if entry.version in state.rolled_back:  # the supervisor died before it wrote active.json anew
        active = state.incumbent.name if state.incumbent is not None else None
    active = server_rollbacks.in_production(active, server_rollbacks.judge(rollbacks, {target: state}).waiting, state)
    if active is None or active == entry.version:
        return entry if active is not None else None
    return ActiveFile.of({target: state.versions[active]}).targets[target]


def _incumbents(targets: Mapping[str, TargetState]) -> dict[str, Version]:
    return {key: target.incumbent for key, target in targets.items() if target.incumbent is not None}
