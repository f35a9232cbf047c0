"""Which version a target should serve, and whether log or snapshot know it: the server believes no file by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from supervisor.contract import Version
from supervisor.journal.recovery import known_incumbents, known_versions
from supervisor.registry.active import ActiveEntry, ActiveFile, DamagedActiveError
from supervisor.registry.store import UnreadableFileError
from supervisor.serving.errors import ApiError, Refused

T = TypeVar("T")

KnownVersions = Mapping[str, Mapping[str, Version]]
"""Target key to version name to version."""


@dataclass(frozen=True)
class Catalogue:
    """One run folder, read anew at each question."""

    run_dir: Path

    def all_active(self) -> dict[str, Version | Refused]:
        """Every active target that has a model file, with its version or why it cannot be had. Raises ApiError.

        Where the supervisor died between its commit and `active.json`, the log has the newer word.
        """
        known = self._known()
        active = dict(self._active().targets)
        incumbents = ActiveFile.of(self._incumbents()).targets
        for target, entry in incumbents.items():
            if target not in active or active[target].version in known.get(target, {}):
                active[target] = entry
        found: dict[str, Version | Refused] = {}
        for target, entry in active.items():
            if entry.interface is None:
                continue  # an external configuration: its program is production, there is nothing to serve
            try:
                found[target] = self._agreed(target, entry, known)
            except Refused as error:
                found[target] = error
        return found

    def resolve(self, target: str, name: str | None) -> Version:
        """The named version of the target, the active one without a name. Raises ApiError."""
        if name is None:
            entry = self._active().targets.get(target)
            if entry is None:
                raise ApiError(404, "not_active", f"{target[:200]}: active.json names no version of it")
            return self._agreed(target, entry, self._known())
        version = self._known().get(target, {}).get(name)
        if version is None:
            raise ApiError(404, "unknown_version", f"{target[:200]}: log and snapshot know no version {name[:100]!r}")
        return version

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
            raise ApiError(503, "active_damaged", str(error)) from error
        except UnreadableFileError as error:
            raise ApiError(503, "unreadable", str(error), {"Retry-After": "5"}) from error

    def _known(self) -> KnownVersions:
        return self._from_log(known_versions)

    def _incumbents(self) -> Mapping[str, Version]:
        return self._from_log(known_incumbents)

    def _from_log(self, read: Callable[[Path], T]) -> T:
        try:
            return read(self.run_dir)
        except Exception as error:  # a log being rotated, damaged or unreadable: whatever is live stays live
            raise ApiError(503, "log_unreadable", f"log and snapshot cannot be read: {str(error)[:300]}") from error
