"""Why a row is no experience: the closed list of codes, as the quarantine and the answers have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from supervisor.experience.store import Refused

BROKEN_JSON = "broken_json"
TOO_LONG = "too_long"
NOT_AN_OBJECT = "not_an_object"
UNKNOWN_FIELD = "unknown_field"
MISSING_FIELD = "missing_field"
WRONG_TYPE = "wrong_type"
UNKNOWN_TARGET = "unknown_target"
WRONG_WIDTH = "wrong_width"
NOT_FINITE = "not_finite"
WRONG_ACTION = "wrong_action"
ACTION_OUT_OF_RANGE = "action_out_of_range"
WRONG_PRIORITY = "wrong_priority"
WRONG_STEP = "wrong_step"
WRONG_VERSION = "wrong_version"
WRONG_TIME = "wrong_time"
FROM_THE_FUTURE = "from_the_future"

SAYS: Mapping[str, str] = {
    BROKEN_JSON: "a line that is no JSON",
    TOO_LONG: "a line longer than a megabyte",
    NOT_AN_OBJECT: "JSON, and no object",
    UNKNOWN_FIELD: "a field that an experience does not have",
    MISSING_FIELD: "a field that it must have is missing",
    WRONG_TYPE: "a value of another type than its field takes",
    UNKNOWN_TARGET: "no such archetype and model type",
    WRONG_WIDTH: "a state of more or fewer numbers than the model takes",
    NOT_FINITE: "NaN, infinite, or too large for 32 bits",
    WRONG_ACTION: "one of a few where the model gives numbers, the other way round, or another count of numbers",
    ACTION_OUT_OF_RANGE: "an action that the model does not have",
    WRONG_PRIORITY: "not above 0",
    WRONG_STEP: "below 0, or more than 31 bits",
    WRONG_VERSION: "neither v000042 nor 42",
    WRONG_TIME: "neither ISO 8601 nor seconds since 1970",
    FROM_THE_FUTURE: "more than an hour ahead of the server's clock",
}

MAX_ROW_CHARACTERS = 4096
MAX_TOLD_CHARACTERS = 300
MAX_TARGET_CHARACTERS = 200


@dataclass(eq=False)
class RowError(Exception):
    """A row is no experience. `code` is one of the above, `detail` is for people."""

    code: str
    detail: str


class UnreadableError(ValueError):
    """Nothing in a body could be read as an experience, so nothing of it is taken. Says why."""


def refused(target: str, code: str, detail: str, row: str) -> Refused:
    """For the quarantine: short, and of characters that every database takes."""
    return Refused(
        clean(target, MAX_TARGET_CHARACTERS), code, clean(detail, MAX_TOLD_CHARACTERS), clean(row, MAX_ROW_CHARACTERS)
    )


def clean(text: str, most: int) -> str:
    return text[:most].encode("utf-8", "replace").decode().replace("\0", "\ufffd")
