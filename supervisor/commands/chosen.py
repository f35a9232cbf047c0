"""Which targets a command line means: names of archetypes and model types, none of them for all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from supervisor.config.mistakes import suggest
from supervisor.contract import Version
from supervisor.errors import UsageError
from supervisor.registry.active import ActiveFile


def active_models(run_dir: Path, archetypes: Sequence[str], model_types: Sequence[str]) -> dict[str, Version]:
    """The chosen targets whose incumbent has a model file, by key. Raises UsageError naming what there is instead."""
    active = ActiveFile.read(run_dir) if run_dir.is_dir() else None
    entries = active.targets if active else {}
    known = {key: entry.as_version() for key, entry in entries.items() if entry.interface is not None}
    if not known:
        raise UsageError(f"{run_dir} holds no model yet; incumbent train makes some, --run-dir names another folder")
    refuse_unknown(
        [(archetypes, (key.split("/")[0] for key in known)), (model_types, (key.split("/")[1] for key in known))]
    )
    found = {key: known[key] for key in chosen(known, archetypes, model_types)}
    if not found:
        raise UsageError(f"none of these in {run_dir}; there are {', '.join(sorted(known))}")
    return found


def chosen(keys: Iterable[str], archetypes: Sequence[str], model_types: Sequence[str]) -> list[str]:
    """The keys that are meant, in order."""
    pairs = sorted(key.split("/", 1) for key in keys)
    return [
        f"{archetype}/{model_type}"
        for archetype, model_type in pairs
        if (not archetypes or archetype in archetypes) and (not model_types or model_type in model_types)
    ]


def refuse_unknown(given_and_known: Iterable[tuple[Sequence[str], Iterable[str]]]) -> None:
    """Raises UsageError for every name given that is not known."""
    problems = []
    for given, names in given_and_known:
        known = sorted(set(names))
        problems += [f"{name!r}: no such name; {suggest(name, known)}" for name in given if name not in known]
    if problems:
        raise UsageError("\n".join(problems))
