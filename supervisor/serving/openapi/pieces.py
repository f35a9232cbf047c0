"""What descriptions of routes are made of: operations, parameters, bodies, answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from supervisor.contract import Json
from supervisor.serving.openapi.codes import SAYS, VERDICTS

Described = dict[str, Json]
Codes = Mapping[int, Sequence[str]]
"""By status the codes of its errors."""

CLIENT_KEY, REQUEST_ID = "X-Client-Key", "X-Request-Id"
JSON, BINARY = "application/json", "application/octet-stream"
SCHEMAS = "#/components/schemas/"
VERDICT_STATUS = 422

READ_AS_JSON = ("broken_json", "wrong_type", "unknown_field", "not_finite")
ANY_REQUEST: Codes = {
    400: ["not_http"],
    408: ["head_timeout"],
    431: ["head_too_large"],
    500: ["internal_error"],
    503: ["too_many_connections"],
}
"""Where nothing is known yet but that somebody is there."""
WITH_BODY: Codes = {
    400: ["broken_encoding"],
    408: ["body_timeout"],
    413: ["body_too_large"],
    415: ["unsupported_encoding"],
}
AN_ORDER: Codes = {401: ["unauthorized"], 403: ["cross_origin", "forwarded", "wrong_host"], 404: ["not_here"]}
"""Administration, see `access`."""


def together(*groups: Codes) -> dict[int, list[str]]:
    """All codes of all groups, by status."""
    statuses = sorted({status for group in groups for status in group})
    return {
        status: list(dict.fromkeys(code for group in groups for code in group.get(status, ()))) for status in statuses
    }


def operation(
    name: str,
    summary: str,
    answer: Described,
    errors: Codes,
    takes: Described | None = None,
    parameters: Iterable[str] = (),
    says_more: str = "",
    is_order: bool = False,
    is_oip: bool = False,
) -> Described:
    """One method of one path. `answer` is that of status 200, `parameters` are names of those in `document`."""
    body_errors = WITH_BODY if takes is not None else {}
    own = {404: ["not_found"]} if parameters else {}
    met = together(errors, own, AN_ORDER if is_order else {}, body_errors, ANY_REQUEST)
    error = _oip_error if is_oip else _error
    found: Described = {
        "operationId": name,
        "summary": summary,
        "parameters": [{"$ref": f"#/components/parameters/{parameter}"} for parameter in parameters],
        "responses": {"200": answer, **{str(status): error(status, codes) for status, codes in met.items()}},
    }
    if says_more:
        found["description"] = says_more
    if takes is not None:
        found["requestBody"] = takes
    if is_order:
        found["security"] = [{}, {"bearer": []}]
    return found


def ref(name: str) -> Described:
    return {"$ref": f"{SCHEMAS}{name}"}


def body(
    schema: str, examples: Mapping[str, Json], required: bool = True, binary: Described | None = None
) -> Described:
    """A JSON body, with examples by what they show; `binary` is another form of it."""
    shown: Described = {name: {"value": value} for name, value in examples.items()}
    content: Described = {JSON: {"schema": ref(schema), "examples": shown}}
    if binary is not None:
        content[BINARY] = binary
    return {"description": "May be packed: Content-Encoding gzip or deflate.", "required": required, "content": content}


def answers(says: str, schema: str | None = None, binary: Described | None = None, header: str = "") -> Described:
    """What is told with status 200. Without a schema it is empty. `header` comes with the binary form."""
    found: Described = {"description": says}
    if schema is not None:
        found["content"] = {JSON: {"schema": ref(schema)}, **({BINARY: binary} if binary is not None else {})}
    if header:
        found["headers"] = {header: {"description": "With the binary form.", "schema": {"type": "string"}}}
    return found


def _error(status: int, codes: Sequence[str]) -> Described:
    one: Described = {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {"code": {"enum": [*codes]}, "message": {"type": "string"}},
            }
        },
    }
    return _refusal(status, codes, one)


def _oip_error(status: int, codes: Sequence[str]) -> Described:
    """The protocol's own form, but where the server gave up before it knew the path."""
    early = [code for code in ANY_REQUEST.get(status, ()) if code in codes and status != 500]
    content = cast(Described, cast(Described, _error(status, early)["content"])[JSON])
    return _refusal(status, codes, {"anyOf": [ref("OipError"), content["schema"]]} if early else ref("OipError"))


def _refusal(status: int, codes: Sequence[str], schema: Described) -> Described:
    found: Described = {
        "description": " ".join(f"`{code}`: {_meaning(code, status)}." for code in codes),
        "content": {JSON: {"schema": schema}},
    }
    if status == 401:
        found["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    if status == 503:
        found["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "string"}}}
    return found


def _meaning(code: str, status: int) -> str:
    return VERDICTS[code] if status == VERDICT_STATUS and code in VERDICTS else SAYS[code]
