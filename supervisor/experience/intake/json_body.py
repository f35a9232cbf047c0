"""Experiences as JSON: a line each, or one object, or a list of them. They may be of several targets."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import orjson

from supervisor.contract import Json
from supervisor.experience.intake import refusals
from supervisor.experience.intake.form import Form, Forms
from supervisor.experience.intake.json_row import Cells, Singles, cells_of
from supervisor.experience.intake.refusals import MAX_ROW_CHARACTERS, RowError, UnreadableError, refused
from supervisor.experience.intake.validation import examined
from supervisor.experience.rows import Experiences, Floats
from supervisor.experience.store import Refused

MAX_LINE_BYTES = 1 << 20
"""A longer one would be read in one go, and nobody else would have a turn meanwhile."""
UNREADABLE = (refusals.BROKEN_JSON, refusals.TOO_LONG, refusals.NOT_AN_OBJECT)
_NONE_FINITE = "NaN, Infinity, -Infinity and numbers too large for a double are no finite numbers"

Row = dict[str, Json]


class _Good(NamedTuple):
    """A row that may stand in a block with others, and how it was given."""

    cells: Cells
    raw: bytes


def lines(body: bytes) -> list[bytes]:
    """Of JSON lines; empty ones are nothing."""
    return [raw for raw in body.split(b"\n") if raw and not raw.isspace()]


def listed(body: bytes) -> list[bytes]:
    """Of one JSON document: a list's items, or the document itself. Raises UnreadableError."""
    try:
        whole = orjson.loads(body)
    except ValueError as error:
        try:
            whole = json.loads(body)  # which knows NaN: it takes one row from the others, and not all of them
        except (ValueError, RecursionError):
            raise UnreadableError(f"no JSON: {error}") from error
        return [json.dumps(item).encode() for item in whole] if isinstance(whole, list) else [body]
    return [orjson.dumps(item) for item in whole] if isinstance(whole, list) else [body]


def read(given: Iterable[bytes], forms: Forms, now_us: int) -> tuple[list[tuple[str, Experiences]], list[Refused]]:
    """The good rows by target, in their order, and the others. Raises UnreadableError where none is an object."""
    known: dict[str, Form] = {}
    blocks: dict[tuple[str, int], list[_Good]] = {}  # actions of another count of numbers fit into no common block
    quarantined: list[Refused] = []
    for raw in given:
        target = ""
        try:
            row = _object(raw)
            target = _target(row)
            cells = cells_of(row, known.get(target) or _form(target, row, forms, known), now_us)
        except RowError as error:
            target = target or (_target_in(raw) if error.code == refusals.NOT_FINITE else "")
            quarantined.append(refused(target, error.code, error.detail, _text(raw)))
        else:
            blocks.setdefault((target, len(cells.controls)), []).append(_Good(cells, raw))
    experiences: list[tuple[str, Experiences]] = []
    for (target, _), block in blocks.items():
        good, others = _examined(target, block, known[target], now_us)
        experiences += [(target, good)] if len(good) else []
        quarantined += others
    if not experiences and all(row.reason in UNREADABLE for row in quarantined):
        raise UnreadableError(quarantined[0].detail if quarantined else "there is no row in it")
    return experiences, quarantined


def _object(raw: bytes) -> Row:
    if len(raw) > MAX_LINE_BYTES:
        raise RowError(refusals.TOO_LONG, f"{len(raw)} bytes in one row, at most {MAX_LINE_BYTES}")
    try:
        row = orjson.loads(raw)
    except ValueError as error:
        if b"NaN" in raw or b"Infinity" in raw or "infinity" in str(error):
            raise RowError(refusals.NOT_FINITE, _NONE_FINITE) from error
        raise RowError(refusals.BROKEN_JSON, f"no JSON: {error}") from error
    if not isinstance(row, dict):
        raise RowError(refusals.NOT_AN_OBJECT, f"a {type(row).__name__} where an object must be")
    return row


def _target(row: Row) -> str:
    archetype, model_type = row.get("archetype"), row.get("model_type")
    if isinstance(archetype, str) and isinstance(model_type, str):
        return f"{archetype}/{model_type}"
    code = refusals.MISSING_FIELD if archetype is None or model_type is None else refusals.WRONG_TYPE
    raise RowError(code, "archetype and model_type: must both be there, as text")


def _target_in(raw: bytes) -> str:
    """Of a row with numbers for which JSON has no word, but Python's own reader has."""
    try:
        return _target(json.loads(raw))
    except (ValueError, RecursionError, AttributeError, RowError):
        return ""


def _form(target: str, row: Row, forms: Forms, known: dict[str, Form]) -> Form:
    state, action = row.get("state"), row.get("action")
    width = len(state) if isinstance(state, list) else 0
    form = forms.of(target, width, len(action) if isinstance(action, list) else 0)
    if form is None:
        raise RowError(refusals.UNKNOWN_TARGET, f"{target}: no such archetype and model type")
    if width:  # or a later row says more
        known[target] = form
    return form


def _examined(target: str, block: Sequence[_Good], form: Form, now_us: int) -> tuple[Experiences, list[Refused]]:
    rows = _stacked([good.cells for good in block])
    return examined(target, rows, form, now_us, lambda index: _text(block[index].raw))


def _stacked(cells: Sequence[Cells]) -> Experiences:
    states, actions, controls, rewards, next_states, done, priorities, episodes, steps, versions, times = zip(
        *cells, strict=True
    )
    with np.errstate(over="ignore"):  # what is too large for 32 bits is found as infinite
        return Experiences(
            states=_matrix(states),
            actions=np.array(actions, np.int32),
            controls=_matrix(controls),
            rewards=np.array(rewards, np.float64).astype(np.float32),
            next_states=_matrix(next_states),
            done=np.array(done, np.bool_),
            priorities=np.array(priorities, np.float64).astype(np.float32),
            episodes=np.array(episodes, np.int64),
            steps=np.array(steps, np.int32),
            versions=np.array(versions, np.int32),
            times=np.array(times, np.int64),
        )


def _matrix(cells: Sequence[Singles]) -> Floats:
    return np.frombuffer(b"".join(cells), np.float32).reshape(len(cells), len(cells[0]))


def _text(raw: bytes) -> str:
    return raw[: 4 * MAX_ROW_CHARACTERS].decode("utf-8", "replace")
