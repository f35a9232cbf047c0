"""YAML: values are replaced where they stand, so comments, order, quotes and spacing stay as the user wrote them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import yaml

from supervisor.contract import Scalar
from supervisor.external.leaf import ConfigTextError, Leaf, Path, leaf, number_text, parse_number

PREFIX = re.compile(r"(?:[&!]\S*\s+)+")  # anchor and tag stand before the value and are kept
PLAIN = re.compile(r"[A-Za-z_][\w-]*(?: [\w-]+)*")


def leaves(text: str) -> list[Leaf]:
    """Every scalar of the one document. Raises ConfigTextError with the place of a syntax error."""
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        return [] if root is None else list(_walk(text, loader, root, (), ()))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{mark.line + 1}:{mark.column + 1}: " if mark else ""
        raise ConfigTextError([f"{place}not valid YAML: {error.problem or error.context}"]) from error
    except yaml.YAMLError as error:
        raise ConfigTextError([f"not valid YAML: {error}"]) from error
    finally:
        loader.dispose()


def _walk(text: str, loader: yaml.SafeLoader, node: yaml.Node, path: Path, above: tuple[int, ...]) -> Iterator[Leaf]:
    if id(node) in above:
        return  # an anchor that contains its own alias
    above = (*above, id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
            yield from _walk(text, loader, value, (*path, name), above)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _walk(text, loader, value, (*path, str(index)), above)
    elif isinstance(node, yaml.ScalarNode):
        start, end = node.start_mark.index, node.end_mark.index
        prefix = PREFIX.match(text, start, end)
        start = prefix.end() if prefix else start
        yield leaf(text, path, _value(loader, node, text[start:end]), start, end)


def _value(loader: yaml.SafeLoader, node: yaml.ScalarNode, written: str) -> Scalar | None:
    if "\n" in written or not written:
        return None
    if node.style is None:
        number = parse_number(written)  # YAML 1.1 takes 1e-4 for a string
        if isinstance(number, float):
            return number
    try:
        value = loader.construct_object(node)
    except yaml.YAMLError:
        return None  # a tag that only the user's program knows
    return value if isinstance(value, bool | int | float | str) else None


def render(value: Scalar, old: str) -> str:
    """The value as YAML, in the quotes of the old text where it had any."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number_text(value)
    if old.startswith("'"):
        return "'" + value.replace("'", "''") + "'"
    if not old.startswith('"') and PLAIN.fullmatch(value) and yaml.safe_load(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)  # YAML knows no pairs of surrogates
