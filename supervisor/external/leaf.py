"""What the four formats have in common: the tunable values of a text, where they stand, and how a value is replaced."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from supervisor.contract import Scalar

Path = tuple[str, ...]
"""Keys from the outermost to the innermost; a list's element is its number from 0."""

NUMBER = re.compile(r"[-+]?(\d[\d_]*(\.[\d_]*)?|\.\d[\d_]*)([eE][-+]?\d+)?")


class ConfigTextError(ValueError):
    """A configuration text cannot be read or edited as asked. Carries every problem found, each with its place."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Leaf:
    """One value that is no mapping and no list. `value` is None where it is null, a date or longer than its line.

    `start` and `end` are the value's characters in the text; line and column count from 1.
    """

    path: Path
    value: Scalar | None
    start: int
    end: int
    line: int
    column: int

    @property
    def place(self) -> str:
        return f"{self.line}:{self.column}"


def leaf(text: str, path: Path, value: Scalar | None, start: int, end: int) -> Leaf:
    """A leaf with its line and column counted out."""
    line_start = text.rfind("\n", 0, start) + 1
    return Leaf(path, value, start, end, text.count("\n", 0, start) + 1, start - line_start + 1)


def number_text(value: float) -> str:
    """The number so that YAML 1.1, YAML 1.2, JSON, TOML and C all read the very same number back."""
    if isinstance(value, int):
        return str(value)
    mantissa, exponent_mark, exponent = repr(value).partition("e")
    if "." not in mantissa:
        mantissa += ".0"  # YAML 1.1 takes 1e-05 for a string
    return mantissa + exponent_mark + exponent


def parse_number(text: str) -> int | float | None:
    """The number that a plain text spells, None if it spells none. 1e-4 is a number."""
    if not NUMBER.fullmatch(text):
        return None
    plain = text.replace("_", "")
    try:
        return int(plain)
    except ValueError:
        return float(plain)


def splice(text: str, replacements: Mapping[tuple[int, int], str]) -> str:
    """The text with each span (start, end) replaced; nothing else moves."""
    for (start, end), new in sorted(replacements.items(), reverse=True):
        text = text[:start] + new + text[end:]
    return text
