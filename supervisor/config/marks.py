"""YAML with the place of every key and value, and without YAML 1.1's traps.

A plain scalar is a number, true, false, null or text by the rules of YAML 1.2's core schema, so `1e-4` is a number and
`yes`, `1:30`, `2024-01-01` and `1_000` are text. Duplicate keys are mistakes. Nothing but plain data is ever built.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from supervisor.contract import Json

Keys = tuple[str | int, ...]
"""Where a value stands in its document: keys and list positions from the top."""

LARGEST_FILE_BYTES = 4 * 2**20
MOST_VALUES = 100_000  # nested aliases could otherwise unfold a small file without end

_INT = re.compile(r"[-+]?[0-9]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_OCTAL = re.compile(r"0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_PLACE = re.compile(r"(.*?):(\d+):(\d+): ")
_PLAIN = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map"))


@dataclass(frozen=True)
class Mark:
    """A place in a file, counted from 1 as editors do."""

    line: int
    column: int


@dataclass
class Document:
    """What a file holds, where each part of it stands, and what is wrong with it as YAML."""

    path: Path
    data: dict[str, Json] = field(default_factory=dict)
    keys: dict[Keys, Mark] = field(default_factory=dict)
    values: dict[Keys, Mark] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def at(self, keys: Keys, *, key: bool = False) -> str:
        """`file:line:column` of a value (or of its key), or of the nearest part around it that is in the file."""
        marks = self.keys if key else self.values
        mark = marks.get(keys)
        while mark is None and keys:
            keys = keys[:-1]
            mark = self.keys.get(keys) or self.values.get(keys)
        return place(self.path, mark or Mark(1, 1))


def place(path: Path, mark: Mark) -> str:
    return f"{path}:{mark.line}:{mark.column}"


def scalar(text: str) -> Json:
    """The value of a plain scalar.

    An infinity or NaN comes back as a float; whoever validates refuses it, since nothing here is ever infinite.
    """
    if text in _PLAIN:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INT.fullmatch(text) and len(text) < 40:
        return int(text)
    if _HEX.fullmatch(text):
        return int(text, 16)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", "", 1))
    return text


def read(path: Path) -> Document:
    """The file's mapping with marks; whatever keeps it from being one stands in `problems`."""
    document = Document(path)
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            document.problems.append(
                f"{place(path, Mark(1, 1))}: larger than {LARGEST_FILE_BYTES} bytes; is this the right file?"
            )
            return document
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        document.problems.append(f"{place(path, Mark(1, 1))}: there is no such file; give the path of one")
    except OSError as error:
        document.problems.append(f"{place(path, Mark(1, 1))}: cannot be read ({error.strerror}); see to its rights")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        column = error.start - error.object.rfind(b"\n", 0, error.start)
        document.problems.append(f"{place(path, Mark(line, column))}: not UTF-8 text; save the file as UTF-8")
    else:
        parse(text, document)
    return document


def parse(text: str, document: Document) -> None:
    """Fill `document` from text."""
    try:
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        # a line without its colon is noticed only at the next one; the context is where it stands
        mark = error.context_mark if error.context == "while scanning a simple key" else error.problem_mark
        at = Mark(mark.line + 1, mark.column + 1) if mark else Mark(1, 1)
        what = " ".join(part for part in (error.context, error.problem) if part)
        document.problems.append(f"{place(document.path, at)}: not YAML: {what}; correct this line or the one before")
        return
    except yaml.reader.ReaderError as error:
        at = Mark(text.count("\n", 0, error.position) + 1, error.position - text.rfind("\n", 0, error.position))
        document.problems.append(
            f"{place(document.path, at)}: the character {error.character!r} is not allowed in YAML; remove it"
        )
        return
    except RecursionError:
        document.problems.append(f"{place(document.path, Mark(1, 1))}: nested too deeply; flatten it")
        return
    if root is None or (isinstance(root, yaml.ScalarNode) and root.style is None and root.value in _PLAIN):
        return
    if not isinstance(root, yaml.MappingNode):
        document.problems.append(f"{place(document.path, _mark(root))}: not a mapping; write `section: ...` lines")
        return
    _Builder(document).mapping(root, ())


class _Builder:
    """Walks the composed nodes once; the values go to the document as plain data."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._count = 0
        self._open: set[int] = set()

    def mapping(self, node: yaml.MappingNode, keys: Keys) -> dict[str, Json]:
        data: dict[str, Json] = self._document.data if keys == () else {}
        self._document.values[keys] = _mark(node)
        seen: dict[str, Mark] = {}
        for key_node, value_node in node.value:
            mark = _mark(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(mark, keys, "a key must be a name; write it as plain text")
                continue
            name = key_node.value
            if name in seen:
                self._problem(mark, (*keys, name), f"stands twice (first in line {seen[name].line}); keep one of them")
                continue
            seen[name] = mark
            self._document.keys[(*keys, name)] = mark
            data[name] = self.value(value_node, (*keys, name))
        return data

    def value(self, node: yaml.Node, keys: Keys) -> Json:
        mark = _mark(node)
        self._document.values[keys] = mark
        self._count += 1
        if node.tag not in _PLAIN_TAGS:
            self._problem(mark, keys, f"the tag {node.tag!r} is not supported; remove it")
            return None
        if isinstance(node, yaml.ScalarNode):
            return scalar(node.value) if node.style is None else str(node.value)
        if id(node) in self._open or self._count > MOST_VALUES:
            self._problem(mark, keys, "an alias that unfolds without end; write the values out")
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self.mapping(node, keys)
            assert isinstance(node, yaml.SequenceNode)
            return [self.value(item, (*keys, index)) for index, item in enumerate(node.value)]
        finally:
            self._open.discard(id(node))

    def _problem(self, mark: Mark, keys: Keys, text: str) -> None:
        name = f"{dotted(keys)}: " if keys else ""
        self._document.problems.append(f"{place(self._document.path, mark)}: {name}{text}")


def dotted(keys: Keys) -> str:
    return ".".join(map(str, keys))


def in_order(problems: list[str]) -> list[str]:
    """The problems of each file by line and column, files and everything else in the order they came up."""

    def rank(numbered: tuple[int, str]) -> tuple[int, int, int, int]:
        number, problem = numbered
        found = _PLACE.match(problem)
        if found is None:
            return (len(firsts), 0, 0, number)
        return (firsts[found[1]], int(found[2]), int(found[3]), number)

    firsts: dict[str, int] = {}
    for problem in problems:
        if (found := _PLACE.match(problem)) is not None:
            firsts.setdefault(found[1], len(firsts))
    return [problem for _, problem in sorted(enumerate(problems), key=rank)]


def _mark(node: yaml.Node) -> Mark:
    return Mark(node.start_mark.line + 1, node.start_mark.column + 1)
