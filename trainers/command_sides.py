"""How a configuration reaches a user's program: its own copy for each side, or the user's file edited in place."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from supervisor.contract import Params, Reason
from supervisor.errors import TrialError
from supervisor.external.command_settings import CommandSettings
from supervisor.external.config_text import decode, edit
from supervisor.external.in_place import Claim, take
from supervisor.external.leaf import ConfigTextError
from supervisor.journal import durable, removal
from trainers.linked import make_own
from trainers.target import Control

CLAIM_INTERVAL_S = 0.2
BUILT_NAME = "built.json"


@dataclass(frozen=True)
class Place:
    """Where one side's program runs: its configuration file, the folder commands start in, a folder for builds."""

    config: Path
    folder: Path
    build: Path


Build = Callable[[Place], None]
"""Runs the build command at a place; raises TrialError."""


class Sides(Protocol):
    """One way of giving configurations to the program."""

    def prepare(self, params: Params, build: Build) -> Place:
        """The place of this configuration, written and built; built once however often it is asked for."""

    def untouched(self) -> bool:
        """Whether nobody else changed the configuration while the program ran."""

    def close(self) -> list[str]:
        """Give everything back; the texts of events."""


def config_sha256(params: Params) -> str:
    """The version of an external target: the hash of its canonical configuration."""
    return durable.sha256_bytes(durable.canonical_json(dict(params)))


class CopiedSides:
    """A folder per configuration under `work`: a copy of the file, or of the whole source tree.

    All copies of a trial come from one snapshot, so that what the user changes meanwhile reaches neither side or both.
    A folder counts as built within one boot of the machine: what a compiler wrote is not durable.
    """

    def __init__(self, settings: CommandSettings, work: Path, run_dir: Path) -> None:
        self._settings = settings
        self._work = work
        self._run_dir = run_dir
        self._boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def prepare(self, params: Params, build: Build) -> Place:
        folder = self._work / config_sha256(params)[:16]
        place = self._place(folder)
        if not self._is_complete(folder):
            snapshot = self._snapshot()
            _clear(folder)
            place.build.mkdir(parents=True)
            if self._settings.source_dir is not None:
                shutil.copytree(snapshot, folder / "source", symlinks=True)
            data = snapshot / self._config_name()
            place.config.write_bytes(edited(data.read_bytes(), self._settings, params))
            build(place)
            durable.write_json(folder / BUILT_NAME, {"boot": self._boot})
        return place

    def untouched(self) -> bool:
        return True

    def close(self) -> list[str]:
        return []

    def _config_name(self) -> Path:
        """Of the configuration file inside a copy."""
        source = self._settings.source_dir
        return (
            Path(self._settings.config_file.name) if source is None else self._settings.config_file.relative_to(source)
        )

    def _place(self, folder: Path) -> Place:
        source, working_dir = self._settings.source_dir, self._settings.working_dir
        if source is None:
            config = folder / self._settings.config_file.name
            return Place(config, working_dir or self._settings.config_file.parent, folder / "build")
        copy = folder / "source"
        inside = working_dir is not None and working_dir.is_relative_to(source)
        start = copy / working_dir.relative_to(source) if working_dir is not None and inside else working_dir or copy
        return Place(copy / self._config_name(), start, folder / "build")

    def _is_complete(self, folder: Path) -> bool:
        try:
            return (folder / BUILT_NAME).read_bytes() == durable.canonical_json({"boot": self._boot}) + b"\n"
        except FileNotFoundError:
            return False

    def _snapshot(self) -> Path:
        """The user's file or tree as it was when this trial first looked."""
        folder = self._work / "snapshot"
        if not self._is_complete(folder):
            _clear(folder)
            source = self._settings.source_dir
            if source is None:
                (folder / "source").mkdir(parents=True)
                shutil.copyfile(self._settings.config_file, folder / "source" / self._config_name())
            else:
                shutil.copytree(source, folder / "source", symlinks=True, ignore=self._ignored)
                make_own(self._config_name(), folder / "source", source)
            durable.write_json(folder / BUILT_NAME, {"boot": self._boot})
        return folder / "source"

    def _ignored(self, folder: str, names: list[str]) -> set[str]:
        patterns = shutil.ignore_patterns(*self._settings.source_ignore)
        ours = {name for name in names if (Path(folder) / name).resolve() == self._run_dir.resolve()}
        return patterns(folder, names) | ours  # a run folder inside the tree would copy itself without end


class InPlaceSides:
    """The user's own file holds one side after the other, and the user's own bytes again at the end."""

    def __init__(self, settings: CommandSettings, work: Path, control: Control) -> None:
        self._settings = settings
        self._work = work
        self._control = control
        self._claim: Claim | None = None
        self._built_for: bytes | None = None  # the file's bytes at the last build

    def prepare(self, params: Params, build: Build) -> Place:
        claim = self._claimed()
        claim.keep_foreign_edit()
        data = edited(claim.original, self._settings, params)
        claim.put(data)
        place = Place(
            self._settings.config_file,
            self._settings.working_dir or self._settings.config_file.parent,
            self._work / "build",
        )
        if self._built_for != data:
            self._built_for = None
            place.build.mkdir(parents=True, exist_ok=True)
            build(place)
            self._built_for = data
        return place

    def untouched(self) -> bool:
        return self._claim is not None and self._claim.intact()

    def close(self) -> list[str]:
        if self._claim is None:
            return []
        claim, self._claim = self._claim, None
        claim.release()
        return claim.notes

    def _claimed(self) -> Claim:
        """The claim on the file; waits while another trial has it."""
        while self._claim is None:
            self._control.beat(0)
            self._control.check()
            self._claim = take(self._settings.config_file)
            if self._claim is None:
                time.sleep(CLAIM_INTERVAL_S)
        return self._claim


def edited(data: bytes, settings: CommandSettings, params: Params) -> bytes:
    """The file's bytes with the configuration's values. Raises TrialError where the file does not allow it."""
    try:
        return edit(decode(data), settings.format, params).encode()
    except ConfigTextError as error:
        problems = "; ".join(f"{settings.config_file}:{problem}" for problem in error.problems)
        raise TrialError(Reason.CONFIG_FILE, problems) from error


def _clear(folder: Path) -> None:
    if folder.exists():
        removal.clear_place(folder)
