"""`incumbent store import` and `incumbent store export`."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from supervisor.commands.collect import MODEL_TYPE, read_manifest
from supervisor.commands.store import Opened, opened
from supervisor.commands.storeoptions import StoreOptions
from supervisor.config.mistakes import suggest
from supervisor.errors import UsageError
from supervisor.experience.store import Selection
from supervisor.experience.transport.exporting import exported, path_of
from supervisor.experience.transport.files import FORMATS
from supervisor.experience.transport.importing import Checked, Imported, checked, imported


@dataclass(frozen=True)
class ImportOptions:
    """`target` is that of all files, where they do not say their own; `quarantine` sets bad rows aside."""

    store: StoreOptions
    files: Sequence[Path]
    target: str | None
    quarantine: bool


@dataclass(frozen=True)
class ExportOptions:
    """`targets` are keys or globs, none for all; `width` chooses among rows of several widths."""

    store: StoreOptions
    targets: Sequence[str]
    kind: str
    output: Path
    width: int | None


def import_files(options: ImportOptions, now_us: int) -> int:
    """Store the rows of all files, or of none where one has a mistake."""
    files = _checked(options, now_us)
    with opened(options.store, make=True) as it:
        for file in files:
            typer.echo(_said(imported(it.store, file, now_us)))
    return 0


def _checked(options: ImportOptions, now_us: int) -> list[Checked]:
    """Raises UsageError with every mistake of every file."""
    files: list[Checked] = []
    problems: list[str] = []
    for path in options.files:
        file, mistakes = checked(path, options.target or _collected(path), now_us, options.quarantine)
        files += [] if file is None else [file]
        problems += mistakes
    if problems:
        raise UsageError("\n".join([*problems, "nothing was stored"]))
    return files


def _collected(path: Path) -> str | None:
    """Of what `incumbent collect` wrote, whose manifest lies beside it."""
    known = read_manifest(path.parent)
    return f"{path.stem}/{MODEL_TYPE}" if known.get(path.stem, {}).get("file") == path.name else None


def _said(done: Imported) -> str:
    stored = done.rows - done.repeated
    told = f"{done.path}: {stored} rows of {done.target} stored"
    told += f", {done.repeated} were already" if done.repeated else ""
    return told + (f", {done.quarantined} are in quarantine" if done.quarantined else "")


def export_targets(options: ExportOptions) -> int:
    """A file of every target chosen."""
    if options.kind not in FORMATS:
        raise UsageError(f"--format {options.kind}: no such format; there are {', '.join(FORMATS)}")
    with opened(options.store) as it:
        for target in _chosen(it, options.targets):
            path = path_of(options.output, target, options.kind)
            rows = exported(it.store, Selection(target, width=options.width), options.kind, path)
            typer.echo(f"{path}: {rows} rows of {target}")
    return 0


def _chosen(it: Opened, patterns: Sequence[str]) -> list[str]:
    known = [target.target for target in it.store.stats()]
    if not known:
        raise UsageError(f"{it.name}: the store has no rows")
    missing = [pattern for pattern in patterns if not fnmatch.filter(known, pattern)]
    if missing:
        raise UsageError(
            "\n".join(f"{name!r}: the store has no such target; {suggest(name, known)}" for name in missing)
        )
    return [name for name in known if not patterns or any(fnmatch.fnmatchcase(name, each) for each in patterns)]
