"""The settings of one start: flag before environment before file before default, every mistake at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_origin

import pydantic
from pydantic import SecretStr

from supervisor.config import founding, marks
from supervisor.config.marks import Document, Keys
from supervisor.config.mistakes import explain, field_at, leaf_types, section_at, suggest
from supervisor.config.settings import GUARD_PRESETS, Settings, is_marked, walk
from supervisor.contract import Json
from supervisor.errors import ConfigurationError

PREFIX = "INCUMBENT_"
SEPARATOR = "__"

Tree = dict[str, object]


@dataclass(frozen=True)
class Loaded:
    """Settings and where each value came from.

    `sources` maps every setting's dotted name (and those given of `targets`) to "flag --x", "environment NAME",
    "file PATH:LINE:COLUMN", "preset NAME" or "default". `places` has, by path of keys, the words that begin a message
    about what was given there.
    """

    settings: Settings
    sources: Mapping[str, str]
    places: Mapping[Keys, str] = field(default_factory=dict)
    path: Path | None = None


def load_settings(path: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Loaded:
    """The settings of a start. `flags` maps dotted names to values; None is a flag that was not given.

    Raises ConfigurationError with every mistake found, each `file:line:column: name: what; what to do`.
    """
    loaded, problems = read_settings(path, environ, flags)
    if problems:
        raise ConfigurationError(problems)
    return loaded


def read_settings(
    path: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]
) -> tuple[Loaded, list[str]]:
    """The settings, with the default where what was given is wrong, and every mistake found."""
    sources = _Sources()
    if path is not None:
        sources.add_file(path)
    sources.add_environment(environ)
    sources.add_flags(flags)
    settings = sources.validate()
    return Loaded(settings, sources.named(settings), sources.places, path), marks.in_order(sources.problems)


class _Sources:
    """One tree of values laid over each other, the origin of each, and the mistakes found on the way."""

    def __init__(self) -> None:
        self.tree: Tree = {}
        self.origins: dict[Keys, str] = {}
        self.places: dict[Keys, str] = {}
        self.problems: list[str] = []
        self._keys_of_unknowns: dict[Keys, str] = {}

    def add_file(self, path: Path) -> None:
        document = marks.read(path)
        founding.translate(document)
        self.problems += document.problems
        _drop_empty_sections(document.data)
        self._lay_document(document, document.data, ())

    def add_environment(self, environ: Mapping[str, str]) -> None:
        known = {_variable(name): name for name, _, _ in walk(Settings())}
        for variable, text in sorted(environ.items()):
            if not variable.startswith(PREFIX) or SEPARATOR not in variable:
                continue
            origin = f"environment {variable}"
            name = known.get(variable)
            if name is None:
                self.problems.append(f"{origin}: no setting has this name; {suggest(variable, known)}")
                continue
            self._lay_text(tuple(name.split(".")), text, origin)

    def add_flags(self, flags: Mapping[str, object]) -> None:
        for name, value in sorted(flags.items()):
            if value is None:
                continue
            keys: Keys = tuple(name.split("."))
            origin = f"flag --{str(keys[-1]).replace('_', '-')}"
            if isinstance(value, str):
                self._lay_text(keys, value, origin)
            else:
                self._lay(keys, value, origin, f"{origin}: {name}")

    def validate(self) -> Settings:
        """The settings; whatever does not fit is reported and left out, so that all mistakes are found in one go."""
        self._apply_preset()
        while True:
            try:
                return Settings.model_validate(self.tree)
            except pydantic.ValidationError as error:
                for item in error.errors(include_url=False):
                    keys: Keys = tuple(item["loc"])
                    place = self._keys_of_unknowns if item["type"] == "extra_forbidden" else self.places
                    where = place.get(keys) or self._nearest_place(keys)
                    self.problems.append(f"{where}: {explain(item)}")
                    self._prune(keys)

    def named(self, settings: Settings) -> dict[str, str]:
        """Dotted name -> source, of every setting and of what was given of targets."""
        found = {name: self.origins.get(tuple(name.split(".")), "default") for name, _, _ in walk(settings)}
        for keys, origin in self.origins.items():
            if keys[0] == "targets":
                found[marks.dotted(keys)] = origin
        return found

    def _lay_document(self, document: Document, value: Json, keys: Keys) -> None:
        self.places[keys] = f"{document.at(keys)}: {marks.dotted(keys)}" if keys else document.at(keys)
        self._keys_of_unknowns[keys] = f"{document.at(keys, key=True)}: {marks.dotted(keys)}"
        if isinstance(value, dict):
            for name, inner in value.items():
                self._lay_document(document, inner, (*keys, name))
            if not value:
                self._put(keys, {})
            return
        info = field_at(keys)
        if info is not None and is_marked(info, "secret") and value is not None and _readable_by_others(document.path):
            self.problems.append(
                f"{self.places[keys]}: a secret in a file that others may read; chmod 600 {document.path},"
                f" or set {_variable(marks.dotted(keys))} instead"
            )
        if info is not None and Path in leaf_types(info.annotation) and isinstance(value, str):
            value = str(document.path.parent / value)
        self._lay(keys, value, f"file {document.at(keys)}", self.places[keys])
        for index in range(len(value) if isinstance(value, list) else 0):
            item = (*keys, index)
            self.places[item] = f"{document.at(item)}: {marks.dotted(item)}"

    def _lay_text(self, keys: Keys, text: str, origin: str) -> None:
        place = f"{origin}: {marks.dotted(keys)}"
        info = field_at(keys)
        if info is None:
            self._lay(keys, text, origin, place)
            return
        types = leaf_types(info.annotation)
        value: object
        if get_origin(info.annotation) is tuple:
            value = [
                part.strip() for part in text.strip().removeprefix("[").removesuffix("]").split(",") if part.strip()
            ]
        elif types & {str, SecretStr, Path}:
            value = text
        else:
            value = marks.scalar(text.strip())
        self._lay(keys, value, origin, place)

    def _lay(self, keys: Keys, value: object, origin: str, place: str) -> None:
        self._put(keys, value)
        self.origins[keys] = origin
        for known in [known for known in self.places if known[: len(keys)] == keys]:
            del self.places[known]
        self.places[keys] = place
        if not origin.startswith("file"):
            self._keys_of_unknowns[keys] = place

    def _put(self, keys: Keys, value: object) -> None:
        if not keys:
            return
        tree = self.tree
        for key in keys[:-1]:
            inner = tree.setdefault(str(key), {})
            if not isinstance(inner, dict):
                return  # a mistake in a weaker source; validation reports it
            tree = inner
        tree[str(keys[-1])] = value

    def _apply_preset(self) -> None:
        promotion = self.tree.get("promotion")
        guards = promotion.get("guards") if isinstance(promotion, dict) else None
        preset = guards.get("preset") if isinstance(guards, dict) else None
        if not isinstance(guards, dict) or not isinstance(preset, str):
            return
        for name, bound in GUARD_PRESETS.get(preset, {}).items():
            if name not in guards:
                guards[name] = bound
                self.origins["promotion", "guards", name] = f"preset {preset}"

    def _nearest_place(self, keys: Keys) -> str:
        name = marks.dotted(keys)
        while keys and keys not in self.places:
            keys = keys[:-1]
        return f"{self.places[keys].split(': ')[0]}: {name}" if keys in self.places else name

    def _prune(self, keys: Keys) -> None:
        """Take out the value at `keys`, or the nearest one around it: a list with a wrong item goes whole."""
        tree: object = self.tree
        for index, key in enumerate(keys):
            assert isinstance(tree, dict)
            inner = tree.get(key)
            if index == len(keys) - 1 or not isinstance(inner, dict):
                tree.pop(key, None)
                self.origins = {
                    known: origin for known, origin in self.origins.items() if known[: index + 1] != keys[: index + 1]
                }
                return
            tree = inner


def _variable(name: str) -> str:
    return PREFIX + name.replace(".", SEPARATOR).upper()


def _drop_empty_sections(data: dict[str, Json], keys: Keys = ()) -> None:
    """`run:` with nothing under it is an empty section, not a wrong one."""
    for name in list(data):
        inner = data[name]
        if inner is None and section_at((*keys, name)) is not None:
            del data[name]
        elif isinstance(inner, dict):
            _drop_empty_sections(inner, (*keys, name))


def _readable_by_others(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o077)
