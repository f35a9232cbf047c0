"""What the bodies of the server's own routes look like."""

from __future__ import annotations

from supervisor.contract import Json
from supervisor.serving.openapi.pieces import Described, ref

TEXT: Described = {"type": "string"}
COUNT: Described = {"type": "integer", "minimum": 0}
SHAPES: Described = {"type": "object", "additionalProperties": {"type": "array", "items": COUNT}}
VERSION: Described = {"type": "string", "description": "Like v000042: of iteration 42."}


def record(properties: Described, optional: tuple[str, ...] = (), closed: bool = False) -> Described:
    """An object. `closed`: what else a client sends is refused; what else the server tells may come with time."""
    found: Described = {
        "type": "object",
        "required": [name for name in properties if name not in optional],
        "properties": properties,
    }
    return {**found, "additionalProperties": False} if closed else found


def or_null(schema: Described) -> Described:
    return {**schema, "type": [str(schema["type"]), "null"]}


def listed(of: Described, **bounds: Json) -> Described:
    return {"type": "array", "items": of, **bounds}


def own(max_rows: int) -> Described:
    return {
        "Health": record(
            {
                "status": {"const": "ok"},
                "run_id": or_null(TEXT),
                "folder_id": or_null(TEXT),
                "pid": COUNT,
                "models": COUNT,
            }
        ),
        "Ready": record({"status": {"const": "ready"}, "models": COUNT}),
        "Models": record({"models": listed(ref("Model")), "refused": listed(ref("Refused"))}),
        "Model": _model(),
        "Refused": record(
            {"archetype": TEXT, "model_type": TEXT, "version": or_null(VERSION), "code": TEXT, "message": TEXT}
        ),
        "Values": listed({"anyOf": [{"type": "number"}, ref("Values")]}, minItems=1),
        "Inference": _inference(max_rows),
        "Answer": record(
            {
                "version": VERSION,
                "outputs": {"type": "object", "additionalProperties": ref("Values")},
                "actions": {
                    "description": "Per row the number of the greatest value, or the numbers of a continuous action;"
                    " null where the outputs say neither.",
                    "anyOf": [{"type": "null"}, listed(COUNT), listed(listed({"type": "number"}))],
                },
            }
        ),
        "Reload": record({"version": or_null(VERSION)}, optional=("version",), closed=True),
        "Rollback": record(
            {"version": or_null(VERSION), "reason": or_null(TEXT)}, optional=("version", "reason"), closed=True
        ),
        "Swap": record(
            {
                "archetype": TEXT,
                "model_type": TEXT,
                "version": VERSION,
                "sha256": TEXT,
                "before": or_null(VERSION),
                "changed": {"type": "boolean"},
            }
        ),
        "OpenApi": {"type": "object", "required": ["openapi", "info", "paths"], "additionalProperties": True},
    }


def _model() -> Described:
    return record(
        {
            "archetype": TEXT,
            "model_type": TEXT,
            "version": VERSION,
            "iteration": COUNT,
            "sha256": TEXT,
            "inputs": {**SHAPES, "description": "By name the shape; 0 stands for the rows."},
            "outputs": SHAPES,
            "loaded_at": {"type": "string", "format": "date-time"},
            "previous": {**or_null(VERSION), "description": "Kept warm, for a rollback at once."},
            "provider": TEXT,
            "requests": {**COUNT, "description": "Answered, since this version was loaded."},
            "monitoring": ref("Monitoring"),
            "shadow": {"anyOf": [{"type": "null"}, ref("Shadow")]},
        }
    )


def _inference(max_rows: int) -> Described:
    rows = listed({"anyOf": [{"type": "number"}, ref("Values")]}, minItems=1, maxItems=max_rows)
    return {
        "description": "One of the three. Their shapes are those that /models tells.",
        **record(
            {
                "state": {**ref("Values"), "description": "One row of a model with one input."},
                "states": {**rows, "description": "Rows of a model with one input."},
                "inputs": {"type": "object", "additionalProperties": rows, "description": "Rows by input."},
            },
            optional=("state", "states", "inputs"),
            closed=True,
        ),
        "minProperties": 1,
        "maxProperties": 1,
    }
