"""`GET /openapi.json`: every route with what it takes and answers, as OpenAPI 3.1. Made when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version as version_of

import orjson

from supervisor.serving.openapi import experience, oip, orders, own, watching
from supervisor.serving.openapi.oip_schemas import oip as oip_schemas
from supervisor.serving.openapi.pieces import CLIENT_KEY, REQUEST_ID, Described
from supervisor.serving.openapi.schemas import own as own_schemas

GROUPS: Sequence[Callable[[], Described]] = (own.paths, orders.paths, watching.paths, experience.paths, oip.paths)
"""Each tells its paths, and of each its methods."""


@cache
def written(max_rows: int) -> bytes:
    """The document's bytes. `max_rows`: that one request may have."""
    return orjson.dumps(document(max_rows))


def document(max_rows: int) -> Described:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "incumbent",
            "version": version_of("incumbent"),
            "summary": "Models that a search has proven, served.",
        },
        "servers": [{"url": "/"}],
        "paths": {path: methods for group in GROUPS for path, methods in group().items()},
        "components": {
            "schemas": {**own_schemas(max_rows), **watching.schemas(), **experience.schemas(), **oip_schemas()},
            "parameters": _parameters(),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Needed unless administration is bound to this machine alone.",
                }
            },
        },
    }


def _header(name: str, says: str) -> Described:
    return {"name": name, "in": "header", "schema": {"type": "string", "maxLength": 128}, "description": says}


def _parameters() -> Described:
    return {
        "archetype": _in_path("archetype", "aggressive"),
        "model_type": _in_path("model_type", "combat_dqn"),
        "name": {**_in_path("name", "aggressive.combat_dqn"), "description": "archetype.model_type"},
        CLIENT_KEY: _header(CLIENT_KEY, "Who asks, the same each time: decides which of two versions answers."),
        REQUEST_ID: _header(REQUEST_ID, "By which the outcome of its game may be told."),
        experience.IDEMPOTENCY_KEY: _header(
            experience.IDEMPOTENCY_KEY, "Of this body, of its client's own choice: under it, it is stored once."
        ),
        "version": {**_in_path("version", "v000001"), "description": "In full, or its number."},
        oip.HEAD_LENGTH: {
            "name": oip.HEAD_LENGTH,
            "in": "header",
            "schema": {"type": "integer", "minimum": 0},
            "description": "Bytes of JSON before the binary tensors; 0 where there is no JSON.",
        },
    }


def _in_path(name: str, example: str) -> Described:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "example": example}
