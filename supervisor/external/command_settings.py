"""The section of a command target: how the user's program is built, called and judged. Pure: looks at no file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import cast

import pydantic

from supervisor.contract import Json, as_json, parse
from supervisor.errors import ConfigurationError
from supervisor.external.config_text import FORMATS, format_of

PLACEHOLDER = re.compile(r"\{(\w+)\}")
BUILD_NAMES = ("config", "build", "python")
EVALUATE_NAMES = ("games", "seed", "config", "out", "build", "python")


@dataclass(frozen=True)
class CommandSettings:
    """Paths are absolute after `parse_command`. Commands are argument lists, never given to a shell."""

    config_file: Path  # YAML, JSON, TOML or INI; the winner's values are written here
    evaluate: tuple[str, ...]
    build: tuple[str, ...] = ()
    config_format: str | None = None  # yaml | json | toml | ini, where the file's name does not tell
    source_dir: Path | None = None  # a tree that is copied for each configuration; config_file lies in it
    source_ignore: tuple[str, ...] = (".git",)  # names (or patterns of names) that are not copied
    working_dir: Path | None = None  # where commands run; else the copy, or the folder of config_file
    timeout_s: float = 600.0  # one call of evaluate, that is one block of games
    build_timeout_s: float = 600.0
    block_games: int = 50
    metrics: tuple[str, ...] = ()  # further numbers of the program's answer that enter the log line

    @property
    def format(self) -> str:
        return self.config_format or format_of(self.config_file) or ""

    @property
    def in_place(self) -> bool:
        """Whether the program reads the user's own file, so that trials have to edit it."""
        return self.source_dir is None and not any("{config}" in word for word in (*self.build, *self.evaluate))


def parse_command(raw: Mapping[str, Json], base: Path) -> CommandSettings:
    """The settings from a mapping; relative paths are seen from folder `base`.

    Raises ConfigurationError with every problem as `key: what; what to do`.
    """
    known = [field.name for field in fields(CommandSettings)]
    problems = [_unknown(key, known) for key in raw if key not in known]
    problems += [f"{key}: is missing; {why}" for key, why in _REQUIRED.items() if key not in raw]
    try:
        settings = parse(CommandSettings, {key: value for key, value in raw.items() if key in known})
    except pydantic.ValidationError as error:
        seen = set(_REQUIRED) - set(raw)
        for item in error.errors():
            where = ".".join(str(part) for part in item["loc"])
            if where not in seen:
                problems.append(f"{where}: {item['msg'].lower()}; found {str(item['input'])[:60]!r}")
        raise ConfigurationError(problems) from error
    problems += _mistakes(settings)
    if problems:
        raise ConfigurationError(problems)
    return _absolute(settings, base)


def as_settings(settings: CommandSettings) -> dict[str, Json]:
    """The settings as JSON for `TrialSpec.settings`; `parse_command` reads them back from anywhere."""
    return as_json(settings)


_REQUIRED = {
    "config_file": "name the file that holds the program's parameters",
    "evaluate": "give the command that plays games, as a list of arguments",
}


def _unknown(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f"{key}: unknown key; " + (f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}")


def _mistakes(settings: CommandSettings) -> list[str]:
    found = []
    for key, command, names in (
        ("build", settings.build, BUILD_NAMES),
        ("evaluate", settings.evaluate, EVALUATE_NAMES),
    ):
        for word in command:
            found += [
                f"{key}: {{{name}}} is not filled in; known are {', '.join('{' + known + '}' for known in names)}"
                for name in PLACEHOLDER.findall(word)
                if name not in names
            ]
    if not settings.evaluate:
        found.append("evaluate: is empty; give the program and its arguments as a list")
    if settings.config_format not in (None, *FORMATS):
        found.append(f"config_format: {settings.config_format!r} is not known; give one of {', '.join(FORMATS)}")
    elif not settings.format:
        found.append(
            f"config_format: the name {settings.config_file.name} does not tell it; give {' or '.join(FORMATS)}"
        )
    for key in ("timeout_s", "build_timeout_s", "block_games"):
        if not getattr(settings, key) > 0:
            found.append(f"{key}: must be above 0, not {getattr(settings, key)}")
    return found


def _absolute(settings: CommandSettings, base: Path) -> CommandSettings:
    body = as_json(settings)
    for key in ("config_file", "source_dir", "working_dir"):
        if body[key] is not None:
            body[key] = str(base / cast(str, body[key]))
    settings = parse(CommandSettings, body)
    if settings.source_dir is not None and not settings.config_file.is_relative_to(settings.source_dir):
        raise ConfigurationError([f"config_file: {settings.config_file} must lie in source_dir {settings.source_dir}"])
    return settings


def fill(command: tuple[str, ...], values: Mapping[str, str]) -> list[str]:
    """The arguments with every placeholder replaced by its value."""
    return [PLACEHOLDER.sub(lambda found: values[found[1]], word) for word in command]
