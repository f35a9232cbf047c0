"""Whether a value fits a schema, for the words of JSON Schema that the server's document uses; any other is an error.

An object whose schema does not speak of additional properties may hold none here, though a client must bear them: what
the server tells is to be described.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

TYPES: Mapping[str, tuple[type, ...]] = {
    "null": (type(None),), "boolean": (bool,), "integer": (int,), "number": (int, float),
    "string": (str,), "array": (list,), "object": (dict,),
}  # fmt: skip
SAYS_NOTHING = {"description", "format"}
CHECKED = {
    "$ref", "type", "const", "enum", "anyOf", "minimum", "maximum", "maxLength", "items", "minItems", "maxItems",
    "properties", "required", "additionalProperties", "minProperties", "maxProperties",
}  # fmt: skip

Schema = Mapping[str, Any]


def resolved(schema: Schema, document: Schema) -> Schema:
    """What a `$ref` stands for, with what stands beside it; else the schema itself."""
    if "$ref" not in schema:
        return schema
    found: Any = document
    for key in schema["$ref"].removeprefix("#/").split("/"):
        found = found[key]
    return {**resolved(found, document), **{key: value for key, value in schema.items() if key != "$ref"}}


def problems(schema: Schema, value: object, document: Schema, where: str = "$") -> Iterator[str]:
    """A sentence for everything that does not fit."""
    schema = resolved(schema, document)
    unknown = set(schema) - CHECKED - SAYS_NOTHING
    assert not unknown, f"{where}: {unknown} is not checked here"
    kinds = schema.get("type", [])
    if kinds and not any(_is(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        yield f"{where}: {value!r:.100} is no {kinds}"
        return
    if "const" in schema and value != schema["const"]:
        yield f"{where}: {value!r:.100} is not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r:.100} is none of {schema['enum']}"
    choices = schema.get("anyOf", [])
    if choices and all(any(problems(choice, value, document)) for choice in choices):
        yield f"{where}: {value!r:.200} fits none of {len(choices)} choices"
    if "minimum" in schema and isinstance(value, int | float) and value < schema["minimum"]:
        yield f"{where}: {value} is below {schema['minimum']}"
    if "maximum" in schema and isinstance(value, int | float) and value > schema["maximum"]:
        yield f"{where}: {value} is above {schema['maximum']}"
    if "maxLength" in schema and isinstance(value, str) and len(value) > schema["maxLength"]:
        yield f"{where}: {len(value)} characters"
    if isinstance(value, list):
        yield from _in_list(schema, value, document, where)
    if isinstance(value, dict):
        yield from _in_object(schema, value, document, where)


def _is(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, TYPES[kind]) or (kind == "integer" and isinstance(value, float) and value.is_integer())


def _in_list(schema: Schema, value: list[object], document: Schema, where: str) -> Iterator[str]:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield f"{where}: {len(value)} items"
    for index, item in enumerate(value):
        yield from problems(schema.get("items", {}), item, document, f"{where}[{index}]")


def _in_object(schema: Schema, value: dict[str, object], document: Schema, where: str) -> Iterator[str]:
    if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value)):
        yield f"{where}: {len(value)} properties"
    yield from (f"{where}: {name} is missing" for name in schema.get("required", ()) if name not in value)
    described = schema.get("properties", {})
    others = schema.get("additionalProperties", "properties" not in schema)
    for name, item in value.items():
        if name in described:
            yield from problems(described[name], item, document, f"{where}.{name}")
        elif isinstance(others, dict):
            yield from problems(others, item, document, f"{where}.{name}")
        elif not others:
            yield f"{where}: {name} is not described"


def references(part: object) -> Iterator[str]:
    """Every `$ref` in it."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def parameters_of(path: str) -> list[str]:
    return re.findall(r"\{(\w+)\}", path)
