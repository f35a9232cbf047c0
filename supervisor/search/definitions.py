"""The targets there are: archetypes crossed with model types, and external ones, read from search-space folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import supervisor
from supervisor.config import marks
from supervisor.config.marks import Document, Keys
from supervisor.config.mistakes import suggest
from supervisor.config.settings import TargetSettings
from supervisor.contract import Scalar
from supervisor.errors import ConfigurationError
from supervisor.search.built_in import Archetype, Model, cross, read_archetype, read_model
from supervisor.search.external import read_external
from supervisor.search.target import TargetDefinition

BUILT_IN = Path(supervisor.__file__).resolve().parent.parent / "search_spaces"
"""The search spaces that come with the program."""


def load_definitions(
    folders: Sequence[Path],
    patterns: Sequence[str],
    scale: str,
    overrides: Mapping[str, TargetSettings] | None = None,
    places: Mapping[Keys, str] | None = None,
) -> dict[str, TargetDefinition]:
    """The targets whose key matches one of `patterns`, in order of key.

    `overrides` and `places` are the settings' section `targets` and where it says what. Raises ConfigurationError with
    every mistake in every file, each `file:line:column: name: what; what to do`.
    """
    found, problems = read_definitions(folders, patterns, scale, overrides or {}, places or {})
    if problems:
        raise ConfigurationError(problems)
    return found


def pairs(folders: Sequence[Path]) -> set[str]:
    """The keys of every archetype with every model type, whichever are searched; a file is named as what it defines."""
    archetypes, models = (
        {path.stem for folder in folders for path in folder.glob(f"{kind}/*.yaml")} for kind in ("archetypes", "models")
    )
    return {f"{archetype}/{model}" for archetype in archetypes for model in models}


def read_definitions(
    folders: Sequence[Path],
    patterns: Sequence[str],
    scale: str,
    overrides: Mapping[str, TargetSettings],
    places: Mapping[Keys, str],
) -> tuple[dict[str, TargetDefinition], list[str]]:
    """What could be read, and every mistake found."""
    every, problems = _read_folders(folders, scale)
    chosen = _Overrides(every, places)
    for key, override in sorted(overrides.items(), key=lambda item: item[0] in every):
        chosen.apply(key, override)
    problems += chosen.problems
    active = {}
    for index, pattern in enumerate(patterns):
        matched = [key for key in sorted(every) if fnmatchcase(key, pattern)]
        if not matched:
            where = places.get(("run", "targets", index)) or places.get(("run", "targets")) or "run.targets"
            problems.append(f"{where}: {pattern!r} matches no target; {suggest(pattern, every)}")
        active.update({key: every[key] for key in matched})
    return dict(sorted(active.items())), marks.in_order(problems)


def _read_folders(folders: Sequence[Path], scale: str) -> tuple[dict[str, TargetDefinition], list[str]]:
    documents: list[Document] = []
    archetypes: list[Archetype] = []
    models: list[Model] = []
    definitions: list[tuple[Path, TargetDefinition]] = []
    problems: list[str] = []
    for folder in folders:
        if not folder.is_dir():
            problems.append(f"{folder}:1:1: there is no such folder of search spaces; correct run.search_spaces")
            continue
        for path in sorted((folder / "archetypes").glob("*.yaml")):
            document, archetype = read_archetype(path)
            documents.append(document)
            archetypes += [archetype] if archetype else []
        for path in sorted((folder / "models").glob("*.yaml")):
            document, model = read_model(path, scale)
            documents.append(document)
            models += [model] if model else []
        for path in sorted([*(folder / "external").glob("*.yaml"), *folder.glob("*.yaml")]):
            document, definition = read_external(path, scale)
            documents.append(document)
            definitions += [(path, definition)] if definition else []
    every: dict[str, TargetDefinition] = {}
    for definition in cross(archetypes, models):
        if definition.key in every:
            problems.append(f"{folders[-1]}:1:1: {definition.key} is defined in two folders; remove or rename one")
        every[definition.key] = definition
    for path, definition in definitions:
        if definition.key in every:
            problems.append(f"{path}:1:1: target: {definition.key} is defined elsewhere too; give it another name")
        every[definition.key] = definition
    return every, [*problems, *(problem for document in documents for problem in document.problems)]


class _Overrides:
    """The settings' section `targets`, applied to the definitions; a mistake is reported once, whatever it matched."""

    def __init__(self, every: dict[str, TargetDefinition], places: Mapping[Keys, str]) -> None:
        self._every = every
        self._places = places
        self.problems: list[str] = []

    def apply(self, key: str, override: TargetSettings) -> None:
        matched = [key] if key in self._every else [name for name in self._every if fnmatchcase(name, key)]
        if not matched:
            self._report(("targets", key), f"no such target; {suggest(key, self._every)}")
        wrong: dict[str, str] = {}
        known: set[str] = set()
        for name in matched:
            definition = self._every[name]
            fitting: dict[str, Scalar] = {}
            for parameter, value in override.params.items():
                if parameter not in definition.space and parameter not in definition.fixed:
                    continue
                known.add(parameter)
                problem = definition.problem(parameter, value)
                if problem is None:
                    fitting[parameter] = value
                else:
                    wrong[parameter] = problem
            self._every[name] = _with(definition, fitting, override)
        names = {item for name in matched for item in (*self._every[name].space.names, *self._every[name].fixed)}
        for parameter in override.params:
            if matched and parameter not in known:
                wrong[parameter] = f"no such parameter of this target; {suggest(parameter, names)}"
        for parameter, problem in wrong.items():
            self._report(("targets", key, "params", parameter), problem)

    def _report(self, keys: Keys, text: str) -> None:
        where = self._places.get(keys)
        if where is None:
            where = marks.dotted(keys)
        self.problems.append(f"{where}: {text}")


def _with(definition: TargetDefinition, params: Mapping[str, Scalar], override: TargetSettings) -> TargetDefinition:
    searched = {name: value for name, value in params.items() if name in definition.space}
    fixed = {name: value for name, value in params.items() if name not in definition.space}
    return replace(
        definition,
        space=definition.space.with_defaults(searched),
        fixed={**definition.fixed, **fixed},
        moving_defaults=tuple(name for name in definition.moving_defaults if name not in searched),
        frequency=override.frequency or definition.frequency,
        steps=override.steps or definition.steps,
        device=override.device or definition.device,
    )
