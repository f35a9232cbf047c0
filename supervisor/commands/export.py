"""`incumbent export`: a version's model file, or an external target's configuration, out of the registry."""

from __future__ import annotations

from pathlib import Path

import typer

from supervisor.contract import Version
from supervisor.errors import UsageError
from supervisor.journal import durable
from supervisor.journal.recovery import known_versions
from supervisor.registry.active import ActiveFile
from supervisor.registry.store import ModelStore, StoreError


def export_version(run_dir: Path, target: str, output: Path, name: str | None) -> int:
    """Write the file after checking its hash. Raises UsageError naming what there is instead."""
    version = find_version(run_dir, target, name)
    if version.interface is None:
        body = durable.canonical_json(dict(version.params)) + b"\n"
    else:
        try:
            body = ModelStore(run_dir).read(version.model_sha256)
        except StoreError as error:
            raise UsageError(f"{target} {version.name}: {error}") from error
    if output.is_dir():
        raise UsageError(f"{output} is a folder; name a file")
    try:
        durable.write_atomic(output, body)
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise UsageError(f"{output}: {error.strerror}; name a file in a folder that can be written to") from error
    typer.echo(f"{target} {version.name} -> {output} ({len(body)} bytes, sha256 {durable.sha256_bytes(body)})")
    return 0


def find_version(run_dir: Path, target: str, name: str | None) -> Version:
    """A version by target and name; without a name the incumbent."""
    known = known_versions(run_dir).get(target, {})
    if name is None:
        active = ActiveFile.read(run_dir)
        entry = active.targets.get(target) if active else None
        if entry is None:
            raise UsageError(f"{target} has no incumbent in {run_dir}; {_there_are(run_dir)}")
        return entry.as_version()
    if name not in known:
        versions = ", ".join(sorted(known)) or "none"
        raise UsageError(f"{target} has no version {name} in {run_dir}; its versions: {versions}")
    return known[name]


def _there_are(run_dir: Path) -> str:
    targets = ", ".join(sorted(known_versions(run_dir))) or "none yet"
    return f"targets with versions: {targets}"
