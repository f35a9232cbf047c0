"""TOML, by way of tomlkit, which keeps comments and layout. Leaves have no span: tomlkit replaces by path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import tomlkit
from tomlkit.exceptions import ParseError, TOMLKitError

from supervisor.contract import Scalar
from supervisor.external.leaf import ConfigTextError, Leaf, Path, number_text

BOM = "\ufeff"


def leaves(text: str) -> list[Leaf]:
    """Every scalar; line and column are 0. Raises ConfigTextError with the place of a syntax error."""
    return list(_walk(_parse(text).unwrap(), ()))


def _parse(text: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text.removeprefix(BOM))
    except ParseError as error:
        problem = f"{error.line}:{error.col}: not valid TOML: {str(error).partition(' at line')[0]}"
        raise ConfigTextError([problem]) from error
    except TOMLKitError as error:
        raise ConfigTextError([f"not valid TOML: {error}"]) from error


def _walk(value: object, path: Path) -> Iterator[Leaf]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _walk(inner, (*path, str(key)))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _walk(inner, (*path, str(index)))
    else:
        yield Leaf(path, value if isinstance(value, bool | int | float | str) else None, 0, 0, 0, 0)


def replace(text: str, values: Mapping[Path, Scalar]) -> str:
    """The text with the values at these paths replaced."""
    document = _parse(text)
    for path, value in values.items():
        parent: object = document
        for key in path[:-1]:
            parent = parent[int(key)] if isinstance(parent, list) else parent[key]  # type: ignore[index]
        item = _item(value)
        if isinstance(parent, list):
            parent[int(path[-1])] = item
        else:
            parent[path[-1]] = item  # type: ignore[index]
    return (BOM if text.startswith(BOM) else "") + tomlkit.dumps(document)


def _item(value: Scalar) -> object:
    if isinstance(value, bool | str):
        return tomlkit.item(value)
    return tomlkit.value(number_text(value))
