"""Archetype files crossed with model type files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from supervisor.config.marks import Document, Keys, dotted
from supervisor.config.mistakes import suggest
from supervisor.config.typed import read_typed
from supervisor.contract import Scalar
from supervisor.search.files import ArchetypeFile, ModelFile, ParameterEntry, ScaleEntry
from supervisor.search.space import BadParameterError, Parameter, Space
from supervisor.search.target import TargetDefinition

ARENA_LEVELS = 5


@dataclass(frozen=True)
class Archetype:
    document: Document
    file: ArchetypeFile
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True)
class Model:
    document: Document
    file: ModelFile
    space: Space
    scale: str

    @property
    def entry(self) -> ScaleEntry:
        return self.file.scales.small if self.scale == "small" else self.file.scales.full

    @property
    def fixed(self) -> dict[str, Scalar]:
        return {**self.file.fixed, **self.entry.fixed}


def report(document: Document, keys: Keys, text: str) -> None:
    """Add a mistake at a place in the document."""
    document.problems.append(f"{document.at(keys)}: {dotted(keys)}: {text}")


def parameters_of(
    document: Document, entries: Mapping[str, ParameterEntry], elsewhere: Mapping[str, Scalar] | None = None
) -> list[Parameter]:
    """The parameters under `parameters:`; those that make no sense are reported and left out.

    `elsewhere` has the defaults of entries that give none.
    """
    found = []
    for name, entry in entries.items():
        keys: Keys = ("parameters", name)
        default = entry.default if entry.default is not None else (elsewhere or {}).get(name)
        if default is None:
            report(document, keys, "no default; give the value to start from")
            continue
        try:
            found.append(entry.parameter(name, default))
        except BadParameterError as error:
            for part, text in error.mistakes:
                report(document, (*keys, part), text)
    return found


def read_archetype(path: Path) -> tuple[Document, Archetype | None]:
    """One archetype's file; None where it is wrong, with the mistakes in the document's problems."""
    document, file = read_typed(path, ArchetypeFile)
    if file is None:
        return document, None
    _check_name(document, "archetype", file.archetype)
    return document, Archetype(document, file, tuple(parameters_of(document, file.parameters)))


def read_model(path: Path, scale: str) -> tuple[Document, Model | None]:
    """One model type's file at a scale; None where it is wrong, with the mistakes in the document's problems."""
    document, file = read_typed(path, ModelFile)
    if file is None:
        return document, None
    _check_name(document, "model_type", file.model_type)
    space = Space(tuple(parameters_of(document, file.parameters)))
    spaces = {
        "small": _at_scale(document, "small", file.scales.small, file, space),
        "full": _at_scale(document, "full", file.scales.full, file, space),
    }
    return document, Model(document, file, spaces[scale], scale)


def _check_name(document: Document, key: str, name: str) -> None:
    if name != document.path.stem:
        report(document, (key,), f"{name!r} in a file named {document.path.name}; give both the same name")


def _at_scale(document: Document, scale: str, entry: ScaleEntry, file: ModelFile, space: Space) -> Space:
    """The space around the scale's defaults."""
    good = {}
    for name, value in entry.defaults.items():
        keys = ("scales", scale, "defaults", name)
        if name not in space:
            if name not in file.parameters:
                report(document, keys, f"no such parameter; {suggest(name, space.names)}")
        elif (problem := space[name].problem(value)) is not None:
            report(document, keys, problem)
        else:
            good[name] = value
    for name in {**file.fixed, **entry.fixed}:
        if name in file.parameters:
            report(document, ("scales", scale, "fixed", name), "is searched as well; keep it in one of the two")
    return space.with_defaults(good)


def cross(archetypes: Iterable[Archetype], models: Iterable[Model]) -> list[TargetDefinition]:
    """A target for each pair; what does not fit together is reported in the archetype's document."""
    every_model = list(models)
    return [_pair(archetype, model) for archetype in archetypes for model in every_model]


def _pair(archetype: Archetype, model: Model) -> TargetDefinition:
    file, names = model.file, set(model.space.names) | set(model.fixed)
    own = []
    for parameter in archetype.parameters:
        if parameter.name in names:
            report(archetype.document, ("parameters", parameter.name), f"{file.model_type} has it too; rename one")
        else:
            own.append(parameter)
    figures = {}
    for figure, value in archetype.file.training.items():
        name = f"training.{figure}"
        if name not in model.space:
            continue
        problem = model.space[name].problem(value)
        if problem is None:
            figures[name] = value
        else:
            report(archetype.document, ("training", figure), f"as {name} of {file.model_type}: {problem}")
    settings = {**file.settings, **model.entry.settings}
    level = archetype.file.level
    return TargetDefinition(
        key=f"{archetype.file.archetype}/{file.model_type}",
        kind=file.kind,
        space=Space((*model.space.with_defaults(figures).parameters, *own)),
        frequency=file.frequency,
        steps=model.entry.steps,
        wall_s=model.entry.wall_s,
        contenders=file.contenders,
        games_cheap=file.games_cheap,
        scale=model.scale,
        level=level.small if model.scale == "small" else level.full,
        levels=file.levels or (ARENA_LEVELS if file.kind == "arena" else 1),
        from_play=file.from_play,
        fixed=model.fixed,
        settings=settings,
        as_written=settings,
    )
