"""Targets of the user's own: one file each, kind `command` or `module:Class`."""

from __future__ import annotations

from pathlib import Path

from supervisor.config import marks
from supervisor.config.marks import Document
from supervisor.config.typed import check_typed
from supervisor.contract import Json, Scalar
from supervisor.errors import ConfigurationError
from supervisor.external.command_settings import CommandSettings, as_settings, parse_command
from supervisor.external.config_text import decode, read_values
from supervisor.external.in_place import user_bytes
from supervisor.external.leaf import ConfigTextError
from supervisor.promotion.contenders import CONFIRMED, SCREENED
from supervisor.search.built_in import parameters_of, report
from supervisor.search.files import ExternalFile
from supervisor.search.space import Space
from supervisor.search.target import TargetDefinition

COMMAND, GYMNASIUM = "command", "gymnasium"


def read_external(path: Path, scale: str) -> tuple[Document, TargetDefinition | None]:
    """One external target; None where its file is wrong, with the mistakes in the document's problems."""
    document = marks.read(path)
    if document.problems:
        return document, None
    command: dict[str, Json] = {}
    if document.data.get("kind") == COMMAND:
        command = {key: value for key, value in document.data.items() if key not in ExternalFile.model_fields}
        for key in command:
            del document.data[key]
    file = check_typed(document, ExternalFile)
    settings = _command_settings(document, command) if document.data.get("kind") == COMMAND else None
    if file is None:
        return document, None
    defaults = _file_values(document, settings, [name for name, it in file.parameters.items() if it.default is None])
    if file.kind == COMMAND:
        for key in ("fixed", "settings"):
            if key in file.model_fields_set:
                report(document, (key,), "a command has none; its configuration file holds what is not searched")
    space = Space(tuple(parameters_of(document, file.parameters, defaults)))
    if settings is None and file.kind == COMMAND:
        return document, None
    return document, TargetDefinition(
        key=file.target,
        kind=file.kind,
        space=space,
        frequency=file.frequency,
        steps=file.steps,
        wall_s=file.wall_s,
        contenders=file.contenders or (SCREENED if file.kind == GYMNASIUM else CONFIRMED),
        games_cheap=file.games_cheap,
        scale=scale,
        fixed=file.fixed,
        settings=as_settings(settings) if settings else file.settings,
        moving_defaults=tuple(sorted(defaults)),
        as_written=command if settings else file.settings,
    )


def _command_settings(document: Document, command: dict[str, Json]) -> CommandSettings | None:
    try:
        return parse_command(command, document.path.parent.resolve())
    except ConfigurationError as error:
        for problem in error.problems:
            key = problem.split(":", 1)[0].split(".", 1)[0]
            document.problems.append(f"{document.at((key,), key=True)}: {problem}")
        return None


def _file_values(document: Document, settings: CommandSettings | None, names: list[str]) -> dict[str, Scalar]:
    """Values of the user's file, for parameters that give no default."""
    if settings is None or not names:
        return {}
    path = settings.config_file
    found: dict[str, Scalar] = {}
    try:
        text = decode(user_bytes(path))
    except OSError as error:
        report(document, ("config_file",), f"{path} cannot be read ({error.strerror}); correct the path")
        return found
    except ConfigTextError as error:
        document.problems += [f"{path}:{problem}" for problem in error.problems]
        return found
    for name in names:
        try:
            found |= read_values(text, settings.format, [name])
        except ConfigTextError as error:
            for problem in error.problems:
                report(document, ("parameters", name), f"no default, and {path} has none: {problem}")
    return found
