"""Requests that an OpenAPI document allows, and the same bent out of shape, as hypothesis draws them."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

from tests.support.json_schema import Schema, parameters_of, resolved
from tests.support.odd_requests import NASTY

JSON, BINARY = "application/json", "application/octet-stream"
DEEPEST = 3
ANYTHING = st.sampled_from(NASTY)
HEADER = st.one_of(
    st.sampled_from(["-1", "0", "1", "9" * 30, "1.5", "gzip", "text/plain", "application/octet-stream"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=12),
)
PACKING = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}


@dataclass(frozen=True)
class Operation:
    """One method of one path, with everything that it refers to in its place."""

    name: str
    method: str
    path: str
    parameters: tuple[Schema, ...] = field(repr=False)
    described: Schema = field(repr=False)

    @property
    def is_order(self) -> bool:
        return "security" in self.described

    @property
    def content(self) -> Mapping[str, Schema]:
        """What its body may be."""
        found: Mapping[str, Schema] = self.described.get("requestBody", {}).get("content", {})
        return found


@dataclass(frozen=True)
class Drawn:
    """A request as it is sent."""

    operation: Operation
    path: str
    headers: Mapping[str, str]
    body: bytes | None


def operations(document: Schema) -> Iterator[Operation]:
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            parameters = tuple(resolved(parameter, document) for parameter in described["parameters"])
            yield Operation(described["operationId"], method.upper(), path, parameters, described)


def filled(operation: Operation, values: Mapping[str, str]) -> str:
    """Its path with these values for its parameters; the document's examples for those that are not given."""
    path, given = operation.path, {own["name"]: str(own.get("example", "")) for own in operation.parameters} | values
    for name in parameters_of(path):
        path = path.replace(f"{{{name}}}", quote(given[name], safe="", errors="surrogatepass"))
    return path


def examples(operation: Operation, values: Mapping[str, str] | None = None) -> list[Drawn]:
    """As the document shows them; a single one without a body where none is taken."""
    path = filled(operation, values or {})
    shown = [json.dumps(value).encode() for value in shown_values(operation)]
    return [Drawn(operation, path, {"Content-Type": JSON}, body) for body in shown] or [
        Drawn(operation, path, {}, None)
    ]


def shown_values(operation: Operation) -> list[Any]:
    return [one["value"] for one in operation.content.get(JSON, {}).get("examples", {}).values()]


def bent_everywhere(value: Any) -> Iterator[Any]:
    """With each of what is nasty in each place; of a list's places only the first."""
    yield from NASTY
    if isinstance(value, dict):
        for name, item in value.items():
            yield {key: own for key, own in value.items() if key != name}
            yield from ({**value, name: bent} for bent in bent_everywhere(item))
    elif isinstance(value, list) and value:
        yield from ([bent, *value[1:]] for bent in bent_everywhere(value[0]))


@st.composite
def requests(draw: st.DrawFn, operation: Operation, document: Schema, known: Mapping[str, str]) -> Drawn:
    """`known` are values of path parameters that lead to something; it is drawn whether they are taken."""
    names = parameters_of(operation.path)
    values = {name: known[name] if draw(st.integers(0, 4)) else draw(st.text(max_size=12)) for name in names}
    body, headers = draw(_bodies(operation, document)) if operation.content else (None, {})
    found = Drawn(operation, filled(operation, values), headers, body)
    return draw(_bent_requests(found)) if draw(st.integers(0, 3)) == 0 else found


@st.composite
def _bodies(draw: st.DrawFn, operation: Operation, document: Schema) -> tuple[bytes, dict[str, str]]:
    kind = draw(st.sampled_from([*operation.content, JSON]))
    packing = draw(st.sampled_from(["", "", *PACKING]))  # without any it is read by the connection itself
    headers = {"Content-Type": kind, **({"Content-Encoding": packing} if packing else {})}
    if kind == BINARY:
        body = draw(st.binary(max_size=600))
        if any(own["name"] == "Inference-Header-Content-Length" for own in operation.parameters):
            head = json.dumps(draw(_json_values(operation, document))).encode()
            body, headers["Inference-Header-Content-Length"] = head + body, str(len(head))
    else:
        body = json.dumps(draw(_json_values(operation, document))).encode()
    return PACKING.get(packing, bytes)(body), headers


@st.composite
def _json_values(draw: st.DrawFn, operation: Operation, document: Schema) -> Any:
    """The example, or what fits the schema; every other one with something wrong in one place."""
    content = operation.content[JSON]
    shown = st.sampled_from(shown_values(operation))
    value = draw(shown if draw(st.booleans()) else values(content["schema"], document))
    return draw(_bent_values(value)) if draw(st.booleans()) else value


def values(schema: Schema, document: Schema, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that fit the schema."""
    schema = resolved(schema, document)
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        choices = schema["anyOf"] if depth < DEEPEST else schema["anyOf"][:1]
        return st.one_of(*(values(choice, document, depth + 1) for choice in choices))
    kinds = schema.get("type")
    if kinds is None:
        return ANYTHING.filter(_is_json)
    kinds = [kinds] if isinstance(kinds, str) else kinds
    return st.one_of(*(_of_type(kind, schema, document, depth) for kind in kinds))


def _of_type(kind: str, schema: Schema, document: Schema, depth: int) -> st.SearchStrategy[Any]:
    if kind == "array":
        least = schema.get("minItems", 0)
        most = min(schema.get("maxItems", least + 3), least + 3)
        return st.lists(values(schema.get("items", {}), document, depth), min_size=least, max_size=most)
    if kind == "object":
        return _objects(schema, document, depth)
    plain: Mapping[str, st.SearchStrategy[Any]] = {
        "null": st.none(),
        "boolean": st.booleans(),
        "integer": st.integers(schema.get("minimum", -5), 2**40),
        "number": _numbers(schema),
        "string": st.text(max_size=12),
    }
    return plain[kind]


def _numbers(schema: Schema) -> st.SearchStrategy[Any]:
    if "maximum" in schema:
        return st.one_of(st.just(schema["minimum"]), st.floats(schema["minimum"], schema["maximum"]))
    return st.one_of(st.integers(-5, 5), st.floats(allow_nan=False, allow_infinity=False))


@st.composite
def _objects(draw: st.DrawFn, schema: Schema, document: Schema, depth: int) -> dict[str, Any]:
    described, required = schema.get("properties", {}), schema.get("required", [])
    optional = [name for name in described if name not in required]
    most = schema.get("maxProperties", len(described)) - len(required)
    least = schema.get("minProperties", 0) - len(required)
    names = list(required)
    if optional:
        names += draw(st.lists(st.sampled_from(optional), min_size=max(0, least), max_size=most, unique=True))
    found = {name: draw(values(described[name], document, depth)) for name in names}
    others = schema.get("additionalProperties")
    if isinstance(others, dict):
        more = st.dictionaries(st.sampled_from(["state", "grid", "x"]), values(others, document, depth), max_size=2)
        found |= draw(more)
    return found


@st.composite
def _bent_requests(draw: st.DrawFn, request: Drawn) -> Drawn:
    """With something wrong in one place."""
    where = draw(st.sampled_from(["bytes", "header", "query"]))
    if where == "query":
        query = quote(draw(st.text(max_size=12)), errors="surrogatepass")
        return replace(request, path=f"{request.path}?{query}")
    if where == "header" or not request.body:
        described = [own["name"] for own in request.operation.parameters if own["in"] == "header"]
        name = draw(st.sampled_from([*described * 3, "Content-Type", "Content-Encoding", "Authorization", "X-More"]))
        return replace(request, headers={**request.headers, name: draw(HEADER).strip()})
    at = draw(st.integers(0, len(request.body)))
    return replace(request, body=request.body[:at] + draw(st.binary(max_size=3)) + request.body[at + 1 :])


@st.composite
def _bent_values(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, dict) and value and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(value)))
        if draw(st.integers(0, 5)) == 0:
            return {key: item for key, item in value.items() if key != name} | draw(
                st.dictionaries(st.text(max_size=6), ANYTHING, max_size=1)
            )
        return {**value, name: draw(_bent_values(value[name]))}
    if isinstance(value, list) and value and draw(st.booleans()):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], draw(_bent_values(value[at])), *value[at + 1 :]]
    return draw(ANYTHING)


def _is_json(value: object) -> bool:
    return value not in (float("inf"), float("-inf"))
