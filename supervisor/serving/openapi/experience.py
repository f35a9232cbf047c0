"""Bringing experiences. As protected as administration."""

from __future__ import annotations

from typing import cast

from supervisor.experience.intake.frame import CONTENT_TYPE
from supervisor.experience.intake.reading import JSON_LINES
from supervisor.experience.intake.refusals import SAYS
from supervisor.serving.openapi.pieces import CLIENT_KEY, Described, answers, body, operation, ref
from supervisor.serving.openapi.schemas import COUNT, TEXT, listed, or_null, record

IDEMPOTENCY_KEY = "Idempotency-Key"
EXAMPLE: Described = {
    "archetype": "aggressive",
    "model_type": "combat_dqn",
    "state": [0.5] * 64,
    "action": 3,
    "reward": 0.25,
    "next_state": [0.5] * 64,
    "done": False,
    "episode": "fight-1",
    "step": 0,
    "version": "v000001",
}


def paths() -> Described:
    return {"/experience": {"post": _experience()}}


def _experience() -> Described:
    lines: Described = {"schema": {**TEXT, "description": "An `Experience` in each line."}}
    frames: Described = {"schema": {**TEXT, "format": "binary", "description": "See supervisor/experience/README.md."}}
    takes = body("Experiences", {"one": {**EXAMPLE}, "many": [{**EXAMPLE}, {**EXAMPLE, "done": True}]})
    cast(Described, takes["content"]).update({JSON_LINES: lines, CONTENT_TYPE: frames})
    return operation(
        "experience",
        "Bring steps of play for models to learn from",
        answers("All rows are durable, each among the experiences or, with a reason, in the quarantine.", "Taken"),
        {
            400: ["empty_body", "key_too_long"],
            404: ["not_accepted"],
            413: ["too_many_experiences"],
            415: ["unsupported_type"],
            422: ["unreadable"],
            503: ["no_room", "store_down"],
        },
        takes=takes,
        parameters=(CLIENT_KEY, IDEMPOTENCY_KEY),
        is_order=True,
        says_more="At most experience.max_body_kb, as one JSON document also at most serving.max_body_kb. With a key it"
        " may be sent again until it is answered: it is stored once, and what is told is as it was the first time.",
    )


def schemas() -> Described:
    number: Described = {"type": "number"}
    optional = ("next_state", "priority", "episode", "step", "version", "timestamp")
    state = listed(number, minItems=1)
    one = record(
        {
            "archetype": TEXT,
            "model_type": TEXT,
            "state": {**state, "description": "All inputs of the model side by side, in their order."},
            "action": {
                "anyOf": [COUNT, listed(number, minItems=1)],
                "description": "The number of the choice, or the numbers of a continuous action.",
            },
            "reward": number,
            "next_state": {
                "anyOf": [{"type": "null"}, state],
                "description": "Where the step led; may be missing where the episode ended with it.",
            },
            "done": {"type": "boolean"},
            "priority": {**or_null(number), "description": "Above 0; 1 is usual."},
            "episode": {"type": ["string", "integer", "null"]},
            "step": or_null(COUNT),
            "version": {"type": ["string", "integer", "null"], "description": "That acted: v000042 or 42."},
            "timestamp": {
                "type": ["string", "number", "null"],
                "description": "ISO 8601, or seconds since 1970; none is now.",
            },
        },
        optional=optional,
        closed=True,
    )
    reasons = record(dict.fromkeys(SAYS, COUNT), optional=tuple(SAYS))
    told = "; ".join(f"`{code}`: {says}" for code, says in SAYS.items())
    return {
        "Experiences": {"anyOf": [ref("Experience"), listed(ref("Experience"), minItems=1)]},
        "Experience": one,
        "Taken": record(
            {
                "accepted": COUNT,
                "quarantined": COUNT,
                "repeated": {"type": "boolean", "description": "It was stored before, under this key."},
                "reasons": {**reasons, "description": f"How many rows were quarantined for what. {told}."},
            }
        ),
    }
