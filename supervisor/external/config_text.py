"""Reading and editing a user's configuration text by dotted key. Pure: texts in, texts out.

Only the values change. After each edit the new text is read again and compared: the asked values are there, every other
value is what it was, and no line came, went or changed but those of the values.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath

from supervisor.contract import Params, Scalar
from supervisor.external import ini_text, json_text, toml_text, yaml_text
from supervisor.external.leaf import ConfigTextError, Leaf, splice


@dataclass(frozen=True)
class Format:
    """One kind of text. `render` is None where `toml_text.replace` does the work."""

    leaves: Callable[[str], list[Leaf]]
    render: Callable[[Scalar, str], str] | None = None


FORMATS: Mapping[str, Format] = {
    "yaml": Format(yaml_text.leaves, yaml_text.render),
    "json": Format(json_text.leaves, json_text.render),
    "toml": Format(toml_text.leaves),
    "ini": Format(ini_text.leaves, ini_text.render),
}
SUFFIXES: Mapping[str, str] = {
    ".yaml": "yaml",
    ".yml": "yaml",
    ".json": "json",
    ".jsonc": "json",
    ".toml": "toml",
    ".ini": "ini",
    ".cfg": "ini",
    ".conf": "ini",
    ".properties": "ini",
}


def format_of(path: FilePath) -> str | None:
    """The format that the file's name tells, None if it tells none."""
    return SUFFIXES.get(path.suffix.lower())


def decode(data: bytes) -> str:
    """The file's text. Raises ConfigTextError where it is not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigTextError([f"{line}:1: byte {error.start} is not UTF-8; save the file as UTF-8"]) from error


def read_values(text: str, format_name: str, keys: Collection[str]) -> dict[str, Scalar]:
    """The values of these dotted keys. Raises ConfigTextError naming every key that is missing, double or no scalar."""
    return {key: _value(leaf) for key, leaf in _find(FORMATS[format_name].leaves(text), keys).items()}


def edit(text: str, format_name: str, values: Params) -> str:
    """The text with the values of these dotted keys; the very same text if it holds them already.

    Raises ConfigTextError for keys that are not there, and where the text's structure does not allow a clean edit.
    """
    form = FORMATS[format_name]
    before = form.leaves(text)
    found = _find(before, values)
    changed = {key: leaf for key, leaf in found.items() if not _same(leaf.value, values[key])}
    if not changed:
        return text
    if form.render is None:
        new = toml_text.replace(text, {leaf.path: values[key] for key, leaf in changed.items()})
    else:
        _refuse_shared(before, changed)
        spans = {(leaf.start, leaf.end): (values[key], leaf) for key, leaf in changed.items()}
        new = splice(
            text, {span: form.render(value, text[leaf.start : leaf.end]) for span, (value, leaf) in spans.items()}
        )
    _verify(form, text, new, before, {leaf.path: values[key] for key, leaf in changed.items()})
    return new


def _find(leaves: Collection[Leaf], keys: Collection[str]) -> dict[str, Leaf]:
    by_key: dict[str, list[Leaf]] = {}
    for leaf in leaves:
        by_key.setdefault(".".join(leaf.path), []).append(leaf)
    problems = []
    found = {}
    for key in keys:
        candidates = by_key.get(key, [])
        if not candidates:
            problems.append(_missing(key, by_key))
        elif len(candidates) > 1:
            places = " and ".join(leaf.place for leaf in candidates)
            problems.append(f"{key}: stands there {len(candidates)} times ({places}); leave one")
        elif candidates[0].value is None:
            problems.append(f"{candidates[0].place}: {key}: must be a number, a string or a boolean on one line")
        else:
            found[key] = candidates[0]
    if problems:
        raise ConfigTextError(problems)
    return found


def _missing(key: str, known: Collection[str]) -> str:
    if any(name.startswith(f"{key}.") for name in known):
        return f"{key}: is a group, not a value; name one of the values in it"
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        return f"{key}: no such value; did you mean {near[0]}?"
    return f"{key}: no such value; add it to the file, or remove the parameter"


def _value(leaf: Leaf) -> Scalar:
    assert leaf.value is not None, "_find refuses these"
    return leaf.value


def _same(old: Scalar | None, new: Scalar) -> bool:
    return old == new and isinstance(old, bool) == isinstance(new, bool)


def _refuse_shared(leaves: Collection[Leaf], changed: Mapping[str, Leaf]) -> None:
    users: dict[tuple[int, int], list[str]] = {}
    for leaf in leaves:
        users.setdefault((leaf.start, leaf.end), []).append(".".join(leaf.path))
    problems = []
    for key, leaf in changed.items():
        others = [name for name in users[leaf.start, leaf.end] if name != key]
        if others:
            problems.append(f"{leaf.place}: {key}: shares its value with {others[0]} (an alias); write it out for each")
    if problems:
        raise ConfigTextError(problems)


def _verify(form: Format, old: str, new: str, before: list[Leaf], values: Mapping[tuple[str, ...], Scalar]) -> None:
    after = form.leaves(new)
    expected = [values.get(leaf.path, leaf.value) for leaf in before]
    values_stand = [leaf.path for leaf in after] == [leaf.path for leaf in before] and all(
        str(leaf.value) == str(value) or leaf.value == value for leaf, value in zip(after, expected, strict=True)
    )  # by text too: INI has no types, and NaN is not equal to itself
    old_lines, new_lines = old.split("\n"), new.split("\n")
    moved = sum(a != b for a, b in zip(old_lines, new_lines, strict=False))
    if not values_stand or len(old_lines) != len(new_lines) or moved > len(values):
        names = ", ".join(".".join(path) for path in values)
        raise ConfigTextError([f"{names}: cannot be replaced cleanly here; write each on a line of its own"])
