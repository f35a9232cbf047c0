"""From a request's body to a parcel for the store, whichever form the body has."""

from __future__ import annotations

from collections import Counter

from supervisor.experience.intake import frame, json_body, refusals
from supervisor.experience.intake.form import Forms
from supervisor.experience.intake.frame import Frame, FrameError
from supervisor.experience.intake.refusals import UnreadableError, refused
from supervisor.experience.intake.validation import examined
from supervisor.experience.rows import Experiences
from supervisor.experience.store import Parcel, Refused

JSON, JSON_LINES = "application/json", "application/x-ndjson"
CONTENT_TYPES = (JSON_LINES, JSON, frame.CONTENT_TYPE)

Read = tuple[list[tuple[str, Experiences]], list[Refused]]
"""Good rows by target, and the others."""


class TooManyRowsError(ValueError):
    """More rows than one request may have."""


def parcel_of(
    body: bytes, content_type: str, forms: Forms, now_us: int, max_rows: int, client: str = "", key: str = ""
) -> Parcel:
    """Every row of the body, good or refused. `content_type` is one of CONTENT_TYPES.

    Raises UnreadableError, TooManyRowsError.
    """
    if content_type == frame.CONTENT_TYPE:
        experiences, quarantined = _read_frames(body, forms, now_us, max_rows)
    else:
        experiences, quarantined = json_body.read(_rows(body, content_type, max_rows), forms, now_us)
    return Parcel(experiences, quarantined, client, key)


def reasons(parcel: Parcel) -> dict[str, int]:
    """How many of its rows were refused for what."""
    return dict(Counter(row.reason for row in parcel.refused))


def _rows(body: bytes, content_type: str, max_rows: int) -> list[bytes]:
    if content_type == JSON_LINES:
        _bounded(body.count(b"\n"), max_rows)  # before there is anything of each; the last need not end
    found = json_body.lines(body) if content_type == JSON_LINES else json_body.listed(body)
    _bounded(len(found), max_rows)
    return found


def _read_frames(body: bytes, forms: Forms, now_us: int, max_rows: int) -> Read:
    try:
        frames = list(frame.decode(body, now_us))
    except FrameError as error:
        raise UnreadableError(str(error)) from error
    if not frames:
        raise UnreadableError("there is no frame in it")
    _bounded(sum(len(own.rows) for own in frames), max_rows)
    experiences: list[tuple[str, Experiences]] = []
    quarantined: list[Refused] = []
    for own in frames:
        good, others = _sorted_out(own, forms, now_us)
        experiences += [(own.target, good)] if len(good) else []
        quarantined += others
    return experiences, quarantined


def _sorted_out(own: Frame, forms: Forms, now_us: int) -> tuple[Experiences, list[Refused]]:
    form = forms.of(own.target, own.rows.width, own.rows.controls.shape[1])
    if form is not None:
        return examined(own.target, own.rows, form, now_us, own.text)
    told = f"{own.target}: no such archetype and model type"
    every = range(len(own.rows))
    return own.rows.where(slice(0)), [refused(own.target, refusals.UNKNOWN_TARGET, told, own.text(k)) for k in every]


def _bounded(rows: int, max_rows: int) -> None:
    if rows > max_rows:
        raise TooManyRowsError(f"{rows} rows in one request, at most {max_rows}; send them in several")
