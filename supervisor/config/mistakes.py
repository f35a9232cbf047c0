"""A validation error in words: what is wrong, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from supervisor.config.fields import Section
from supervisor.config.settings import Settings, is_marked

_WANTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text (in quotes if it looks like a number)",
    "tuple": "a list, like [a, b]",
    "dict": "a mapping of names to values",
    "model": "a mapping of keys to values",
    "path": "a path",
    "scalar": "a number, true, false or text",
}
_BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}


def leaf_types(annotation: object) -> set[type]:
    """The plain types a field's annotation is made of."""
    if isinstance(annotation, type) and not get_args(annotation):
        return {annotation}
    return {leaf for part in get_args(annotation) for leaf in leaf_types(part)}


def section_at(keys: Iterable[str | int], root: type[Section] = Settings) -> type[Section] | None:
    """The model of the section that a path of keys leads to, from the top of `root`."""
    model = root
    rest = iter(keys)
    for key in rest:
        info = model.model_fields.get(str(key))
        inner = _sections(info) if info else []
        if info is None or not inner:
            return None
        model = inner[0]
        if get_origin(info.annotation) is dict and next(rest, None) is None:
            return None  # the level of free names, above the sections they name
    return model


def field_at(keys: tuple[str | int, ...], root: type[Section] = Settings) -> FieldInfo | None:
    """The field of a setting, by its path of keys."""
    section = section_at(keys[:-1], root) if keys else None
    return section.model_fields.get(str(keys[-1])) if section else None


def explain(error: ErrorDetails, root: type[Section] = Settings) -> str:
    """`what; what to do` for one pydantic error of a document whose model is `root`."""
    kind, keys = error["type"], error["loc"]
    context: Mapping[str, object] = error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(keys, root)
    if kind == "missing":
        return "missing; add it"
    value = show_value(error["input"])
    info = field_at(keys, root)
    if info is not None and is_marked(info, "secret"):
        value = "this secret"
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"{value} is out of range; give a number {words} {context[name]}"
    if kind == "finite_number":
        return f"{value} is not finite; give a finite number"
    if kind == "literal_error":
        return _not_one_of(value, error["input"], [part.strip("'") for part in _choices(str(context["expected"]))])
    if kind in ("sampler", "device"):
        choices = context["choices"]
        assert isinstance(choices, list)
        return _not_one_of(value, error["input"], choices)
    if kind == "token":
        return error["msg"]
    if kind == "same_port":
        return f"{value} {error['msg']}"
    if kind in ("too_short", "string_too_short"):
        return "empty; give at least one" if kind == "too_short" else "empty text; give a value or remove the key"
    if kind == "string_pattern_mismatch":
        return f"{value} does not fit; use letters, digits, dot, dash and underscore, at most 64, the first no sign"
    wanted = _WANTED.get(kind.split("_")[0])
    if wanted is None:
        return f"{value} does not fit: {error['msg']}; correct it"
    return f"{value} is no good here; give {wanted}" if error["input"] is not None else f"no value; give {wanted}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that the writer probably meant."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def suggest(name: str, known: Iterable[str]) -> str:
    """`did you mean ...?`, or what there is to choose from."""
    names = list(known)
    best = nearest(name, names)
    return f"did you mean {best!r}?" if best else f"known here: {', '.join(sorted(names)) or 'nothing'}"


def show_value(value: object) -> str:
    """A value as its writer would know it again, short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "no value"
    text = repr(value) if isinstance(value, str | int | float) else f"a {_NAMES.get(type(value), 'value')}"
    return text if len(text) <= 60 else text[:57] + "..."


_NAMES: dict[type, str] = {dict: "mapping", list: "list", tuple: "list"}


def _unknown_key(keys: tuple[str | int, ...], root: type[Section]) -> str:
    section, name = section_at(keys[:-1], root), str(keys[-1])
    known = list(section.model_fields) if section else []
    if nearest(name, known) is None and root is Settings:
        homes = [home for home, leaf in _every_key() if leaf == name]
        if homes:
            return f"unknown key here; it belongs under '{homes[0]}'"
    return f"unknown key; {suggest(name, known)}"


def _not_one_of(value: str, given: object, choices: list[str]) -> str:
    best = nearest(given, choices) if isinstance(given, str) else None
    listed = ", ".join(choices)
    return f"{value} is not one of {listed}; " + (f"did you mean {best!r}?" if best else "give one of them")


def _choices(expected: str) -> list[str]:
    return expected.replace(" or ", ", ").split(", ")


def _sections(info: FieldInfo) -> list[type[Section]]:
    return sorted(
        (leaf for leaf in leaf_types(info.annotation) if issubclass(leaf, Section)), key=lambda leaf: leaf.__name__
    )


def _every_key() -> list[tuple[str, str]]:
    found = []
    for name, info in Settings.model_fields.items():
        for section in _sections(info):
            for leaf, inner in section.model_fields.items():
                found.append((name, leaf))
                found.extend((f"{name}.{leaf}", deep) for item in _sections(inner) for deep in item.model_fields)
    return found
