"""`models/active.json`: which version of each target is in production. A projection of the log, for readers such as
the server; written by the supervisor alone, after the commit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from supervisor.contract import SCHEMA, Interface, Params, Version, as_json, parse
from supervisor.errors import DamagedStateError
from supervisor.journal import durable
from supervisor.registry.store import FOLDER_NAME, NO_FILE, UnreadableFileError

ACTIVE_NAME = "active.json"


class DamagedActiveError(DamagedStateError):
    """`active.json` is there and is not what the supervisor writes."""


@dataclass(frozen=True)
class ActiveEntry:
    """One target's version in production. `interface` is None where there is no model file to serve."""

    version: str
    iteration: int
    model_sha256: str
    weights_sha256: str | None = None
    interface: Interface | None = None
    params: Params = field(default_factory=dict)
    level: int = 0

    def as_version(self) -> Version:
        return Version(
            name=self.version,
            iteration=self.iteration,
            params=self.params,
            model_sha256=self.model_sha256,
            weights_sha256=self.weights_sha256,
            interface=self.interface,
            level=self.level,
        )


@dataclass(frozen=True)
class ActiveFile:
    """The whole file: target key to its entry."""

    targets: Mapping[str, ActiveEntry] = field(default_factory=dict)
    schema: int = SCHEMA

    @staticmethod
    def of(incumbents: Mapping[str, Version]) -> ActiveFile:
        """The file that says these incumbents are in production."""
        return ActiveFile(
            {
                target: ActiveEntry(
                    version=version.name,
                    iteration=version.iteration,
                    model_sha256=version.model_sha256,
                    weights_sha256=version.weights_sha256,
                    interface=version.interface,
                    params=version.params,
                    level=version.level,
                )
                for target, version in incumbents.items()
            }
        )

    @staticmethod
    def read(run_dir: Path) -> ActiveFile | None:
        """What the folder's file says, None before the first promotion.

        Raises DamagedActiveError naming the file; the supervisor writes it anew at its next start. Raises
        UnreadableFileError where nobody can tell.
        """
        path = run_dir / FOLDER_NAME / ACTIVE_NAME
        try:
            active = parse(ActiveFile, json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            if isinstance(error, OSError) and error.errno not in NO_FILE:
                raise UnreadableFileError(path, error) from error
            raise DamagedActiveError(
                f"{path}: unreadable ({str(error).splitlines()[0]}); the supervisor writes it anew when it starts"
            ) from error
        if active.schema != SCHEMA:
            raise DamagedActiveError(f"{path}: schema {active.schema}, this program reads {SCHEMA}")
        return active

    def write(self, run_dir: Path) -> bool:
        """Replace the folder's file durably; False, with nothing written, where it says so already."""
        try:
            if ActiveFile.read(run_dir) == self:
                return False
        except (DamagedActiveError, UnreadableFileError):
            pass  # written anew below
        folder = run_dir / FOLDER_NAME
        durable.make_folder(folder)
        durable.write_json(folder / ACTIVE_NAME, as_json(self))
        return True
