"""One experience as JSON: which fields it has, and its cells in the order of the columns."""

from __future__ import annotations

import datetime
import re
from array import array
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias, cast

from supervisor.contract import Json
from supervisor.experience.intake import refusals
from supervisor.experience.intake.form import Form
from supervisor.experience.intake.refusals import RowError
from supervisor.experience.rows import MICROSECONDS, episode_number

REQUIRED = ("archetype", "model_type", "state", "action", "reward", "done")
FIELDS = frozenset({*REQUIRED, "next_state", "priority", "episode", "step", "version", "timestamp"})
MAX_EPISODE_CHARACTERS = 200

Singles: TypeAlias = "array[float]"
"""Of 32 bits; what is too large for them is infinite. Arrays of numpy's take twice as long to make."""

_NONE: Singles = array("f")

_NUMBERS = {float, int}
_VERSION = re.compile(r"v?(\d{1,9})")
_MOST_SECONDS = 2**62 // MICROSECONDS


class Cells(NamedTuple):
    """As `Experiences` has them, of one row. All are numbers that fit their columns; some may not be finite."""

    states: Singles
    actions: int
    controls: Singles
    rewards: float
    next_states: Singles
    done: bool
    priorities: float
    episodes: int
    steps: int
    versions: int
    times: int


def cells_of(row: Mapping[str, Json], form: Form, now_us: int) -> Cells:
    """Raises RowError. What is left to look at is whether the numbers are ones that may be, see `validation`."""
    if not row.keys() <= FIELDS:
        unknown = sorted(row.keys() - FIELDS)[0]
        raise RowError(refusals.UNKNOWN_FIELD, f"{unknown[:40]}: unknown; there are {', '.join(sorted(FIELDS))}")
    done, next_state = row.get("done"), row.get("next_state")
    missing = [name for name in REQUIRED if row.get(name) is None]
    if next_state is None and done is not True:
        missing.append("next_state")
    if missing:
        raise RowError(refusals.MISSING_FIELD, f"{' and '.join(missing)}: missing")
    if type(done) is not bool:
        raise RowError(refusals.WRONG_TYPE, "done: must be true or false")
    state = _numbers(row["state"], "state", form.width)
    action = row["action"]
    given = row.get("timestamp")
    return Cells(
        states=state,
        actions=_whole(action, "action", refusals.WRONG_TYPE) if not isinstance(action, list) else 0,
        controls=_numbers(action, "action") if isinstance(action, list) else _NONE,
        rewards=_number(row["reward"], "reward"),
        next_states=array("f", bytes(4 * len(state)))
        if next_state is None
        else _numbers(next_state, "next_state", form.width),
        done=done,
        priorities=1.0 if row.get("priority") is None else _number(row["priority"], "priority"),
        episodes=_episode(row.get("episode")),
        steps=0 if row.get("step") is None else _whole(row["step"], "step", refusals.WRONG_STEP),
        versions=_version(row.get("version")),
        times=now_us if given is None else _time_us(given),
    )


def _numbers(value: Json, name: str, width: int | None = None) -> Singles:
    if not isinstance(value, list):
        raise RowError(refusals.WRONG_TYPE, f"{name}: must be a list of numbers")
    if width is not None and len(value) != width:
        raise RowError(refusals.WRONG_WIDTH, f"{name}: {len(value)} numbers where the model takes {width}")
    if not set(map(type, value)) <= _NUMBERS:
        index = next(index for index, item in enumerate(value) if type(item) not in _NUMBERS)
        raise RowError(refusals.WRONG_TYPE, f"{name}[{index}]: must be a number")
    return array("f", cast(list[float], value))


def _number(value: Json, name: str) -> float:
    if type(value) not in _NUMBERS:
        raise RowError(refusals.WRONG_TYPE, f"{name}: must be a number")
    assert isinstance(value, int | float)
    return float(value)


def _whole(value: Json, name: str, code: str) -> int:
    """Of 31 bits and a sign."""
    if type(value) is not int:
        raise RowError(refusals.WRONG_TYPE, f"{name}: must be a whole number")
    if not -(2**31) <= value < 2**31:
        beyond = refusals.ACTION_OUT_OF_RANGE if name == "action" else code
        raise RowError(beyond, f"{name}: {value} is no number of 32 bits")
    return value


def _episode(value: Json) -> int:
    if value is None:
        return 0
    if isinstance(value, str) and len(value) <= MAX_EPISODE_CHARACTERS:
        return episode_number(value)
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    raise RowError(
        refusals.WRONG_TYPE, f"episode: must be a whole number, or text of at most {MAX_EPISODE_CHARACTERS} characters"
    )


def _version(value: Json) -> int:
    if value is None:
        return 0
    found = _VERSION.fullmatch(value) if isinstance(value, str) else None
    if found is not None:
        return int(found[1])
    if type(value) is int and 0 <= value < 2**31:
        return value
    raise RowError(refusals.WRONG_VERSION, f"version: {str(value)[:40]!r}; give v000042 or 42")


def _time_us(value: Json) -> int:
    try:
        if isinstance(value, str):
            when = datetime.datetime.fromisoformat(value)
            aware = when if when.tzinfo is not None else when.replace(tzinfo=datetime.UTC)
            return round(aware.timestamp() * MICROSECONDS)
        if isinstance(value, int | float) and type(value) is not bool and abs(value) < _MOST_SECONDS:
            return round(value * MICROSECONDS)
    except (ValueError, OverflowError):
        pass
    raise RowError(
        refusals.WRONG_TIME, f"timestamp: {str(value)[:40]!r}; give ISO 8601 (UTC where no zone is named) or seconds"
    )
