"""`incumbent export --all`: every incumbent's model as a file of a folder, with a manifest that says what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from supervisor.commands.chosen import active_models
from supervisor.commands.jobs import Job, Say, run
from supervisor.contract import Interface, Json, Version
from supervisor.errors import UsageError
from supervisor.journal import durable
from supervisor.journal.identity import load_identity
from supervisor.registry.store import FOLDER_NAME
from supervisor.seeds import derive_seed
from supervisor.tasks import ExportFile, ExportItem, ExportResult, ExportTask

MANIFEST_NAME = "manifest.json"
FP32, FP16 = "fp32", "fp16"
TOLERANCE: Mapping[str, tuple[float, float]] = {FP32: (1e-4, 1.0), FP16: (1e-2, 0.995)}
"""Largest difference of an answer to the registered file's, smallest share of equal choices (DESIGN 8)."""


@dataclass(frozen=True)
class ExportOptions:
    """What the command line says; empty lists mean all."""

    run_dir: Path
    output: Path
    archetypes: Sequence[str]
    model_types: Sequence[str]
    verify: bool = False
    optimize: bool = False
    fp32: bool = False

    @property
    def precision(self) -> str:
        return FP32 if self.fp32 else FP16


def export_models(options: ExportOptions, say: Say = typer.echo) -> int:
    """Write the files and the manifest; 1 where the answers of one differ too much, and it is not written."""
    chosen = active_models(options.run_dir, options.archetypes, options.model_types)
    if options.output.exists() and not options.output.is_dir():
        raise UsageError(f"{options.output} is a file; give a folder")
    options.output.mkdir(parents=True, exist_ok=True)
    items = _items(options.run_dir, chosen)
    tolerance, equal = TOLERANCE[options.precision]
    task = ExportTask(
        items=items,
        models=str(options.run_dir / FOLDER_NAME),
        output=str(options.output),
        half=not options.fp32,
        optimize=options.optimize,
        tolerance=tolerance if options.verify else None,
        equal_choices=equal,
    )
    files = run(Job("export_files", task, ExportResult), say).files
    pairs = list(zip(items, files, strict=True))
    _write_manifest(options, {f"{file.name}.onnx": _entry(chosen[i.target], i, file, options) for i, file in pairs})
    failed = [f"{item.target}: {file.problem}" for item, file in pairs if file.problem]
    if failed:
        typer.echo("not exported:\n" + "\n".join(failed), err=True)
        return 1
    say(f"{len(files)} models as {options.precision}{' and verified' if options.verify else ''} in {options.output}")
    return 0


def _items(run_dir: Path, chosen: Mapping[str, Version]) -> tuple[ExportItem, ...]:
    identity = load_identity(run_dir)
    seed = identity.seed if identity else 0
    return tuple(
        ExportItem(
            name=key.replace("/", "."),
            target=key,
            model_sha256=version.model_sha256,
            level=version.level,
            seed=derive_seed(seed, "export", key, version.iteration),
        )
        for key, version in chosen.items()
    )


def _entry(version: Version, item: ExportItem, file: ExportFile, options: ExportOptions) -> dict[str, Json] | None:
    """None where there is no file."""
    interface = version.interface
    if file.problem or interface is None:
        return None
    return {
        "target": item.target,
        "version": version.name,
        "sha256": file.sha256,
        "registered_sha256": version.model_sha256,
        **_shapes(interface),
        "precision": options.precision,
        "parameters": file.parameters,
        "verified": options.verify,
        "difference": file.difference,
        "equal_choices": file.equal_choices,
    }


def _shapes(interface: Interface) -> dict[str, Json]:
    """The batch is the first dimension and is given as a word."""
    return {
        side: {name: ["batch", *shape[1:]] for name, shape in shapes.items()}
        for side, shapes in (("inputs", interface.inputs), ("outputs", interface.outputs))
    }


def _write_manifest(options: ExportOptions, entries: Mapping[str, Mapping[str, Json] | None]) -> None:
    """What lies there from an earlier export of other targets stays in it."""
    path = options.output / MANIFEST_NAME
    before = {name: entry for name, entry in _read(path).items() if (options.output / name).is_file()}
    found = {**before, **entries}
    files = {name: entry for name, entry in sorted(found.items()) if entry is not None}
    durable.write_atomic(path, json.dumps({"files": files}, indent=2).encode() + b"\n")


def _read(path: Path) -> dict[str, Json]:
    try:
        files = json.loads(path.read_bytes())["files"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}
    return files if isinstance(files, dict) else {}
