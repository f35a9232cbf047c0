"""`incumbent collect`: experience of every archetype as files, played here or taken from the store.

An archetype whose file is there as asked for is not collected again, so an interrupted command goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from supervisor.commands import jobs
from supervisor.commands.chosen import refuse_unknown
from supervisor.commands.collectstored import collect_stored
from supervisor.commands.definitions import definitions, seed_of
from supervisor.commands.storeoptions import StoreOptions
from supervisor.contract import Json
from supervisor.errors import UsageError
from supervisor.journal import durable
from supervisor.seeds import derive_seed
from supervisor.tasks import Collected, CollectItem, CollectResult, CollectTask

STORE = "database"
SOURCES = ("traditional", "synthetic", STORE)
MODEL_TYPE = "combat_dqn"
MANIFEST_NAME = "manifest.json"
FOLDER = "data"


@dataclass(frozen=True)
class CollectOptions:
    """What the command line says; no archetypes mean all, no output the run folder's own."""

    run_dir: Path
    config: Path | None
    archetypes: Sequence[str]
    samples: int
    source: str
    output: Path | None
    seed: int | None


def collect(options: CollectOptions) -> int:
    """Write what is missing; 1 where an archetype has nothing."""
    if options.source not in SOURCES:
        raise UsageError(f"--source {options.source}: no such source; there are {', '.join(SOURCES)}")
    output = options.output or options.run_dir / FOLDER
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file; give a folder")
    items = _items(options)
    known = read_manifest(output)
    missing = [item for item in items if not _is_there(output, known.get(item.archetype), item, options)]
    for item in items:
        if item not in missing:
            typer.echo(f"{item.archetype}: is there as asked for")
    output.mkdir(parents=True, exist_ok=True)
    empty = [found.archetype for found in _collected(options, output, missing) if not found.samples]
    return 1 if empty else 0


def _items(options: CollectOptions) -> list[CollectItem]:
    targets = {
        t.archetype: t for t in definitions(options.run_dir, options.config).values() if t.model_type == MODEL_TYPE
    }
    refuse_unknown([(options.archetypes, targets)])
    seed = seed_of(options.run_dir, options.seed)
    return [
        CollectItem(name, targets[name].level, derive_seed(seed, f"collect {options.source}", name, 0))
        for name in sorted(options.archetypes or targets)
    ]


def _collected(options: CollectOptions, output: Path, missing: Sequence[CollectItem]) -> list[Collected]:
    """The manifest grows with each file, so that nothing is collected twice."""
    found: list[Collected] = []
    for item in missing:
        found.append(_stored(options, output, item) if options.source == STORE else _played(options, output, item))
        _note(output, {item.archetype: _entry(item, found[-1], options)} if found[-1].samples else {})
    return found


def _played(options: CollectOptions, output: Path, item: CollectItem) -> Collected:
    task = CollectTask((item,), options.source, options.samples, str(output))
    return jobs.run(jobs.Job("collect", task, CollectResult), typer.echo).files[0]


def _stored(options: CollectOptions, output: Path, item: CollectItem) -> Collected:
    target, store = f"{item.archetype}/{MODEL_TYPE}", StoreOptions(options.run_dir, options.config, None)
    found = collect_stored(store, target, options.samples, output)
    note = f", {found.left_out} rows left out" if found.left_out else ""
    if found.samples:
        typer.echo(f"{item.archetype}: {found.samples:,} samples -> {output / f'{item.archetype}.npz'}{note}")
    else:
        typer.echo(f"{item.archetype}: the store has no experience of {target}{note}")
    return found


def _entry(item: CollectItem, found: Collected, options: CollectOptions) -> dict[str, Json]:
    return {
        "file": f"{item.archetype}.npz",
        "source": options.source,
        "asked": options.samples,
        "samples": found.samples,
        "left_out": found.left_out,
        "seed": item.seed,
        "level": item.level,
        "sha256": found.sha256,
    }


def _is_there(output: Path, entry: Mapping[str, Json] | None, item: CollectItem, options: CollectOptions) -> bool:
    """A store that had too little may have more by now."""
    if entry is None:
        return False
    wanted = {"source": options.source, "asked": options.samples, "seed": item.seed, "level": item.level}
    path = output / f"{item.archetype}.npz"
    same = all(entry.get(name) == value for name, value in wanted.items()) and entry.get("samples") == options.samples
    return same and path.is_file() and durable.sha256_file(path) == entry.get("sha256")


def _note(output: Path, entries: Mapping[str, dict[str, Json]]) -> None:
    files = {**read_manifest(output), **entries}
    body = {"columns": ["states", "actions", "rewards", "next_states", "done"], "files": dict(sorted(files.items()))}
    durable.write_atomic(output / MANIFEST_NAME, json.dumps(body, indent=2).encode() + b"\n")


def read_manifest(output: Path) -> dict[str, dict[str, Json]]:
    """What is there, by archetype; nothing where the manifest is missing or no such thing."""
    try:
        files = json.loads((output / MANIFEST_NAME).read_bytes())["files"]
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return {}
    return {name: entry for name, entry in files.items() if isinstance(entry, dict)} if isinstance(files, dict) else {}
