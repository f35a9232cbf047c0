"""Two servers' answers to the same exchange, side by side: where they differ, and whether that is known."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from tests.support.oip_answers import Answer

MEASURED = {"ns", "last_inference"}
"""Keys whose values are each server's own clock."""
VERSIONS = {"version", "model_version", "versions"}
"""Keys under which `v000042` is ours for Triton's 42."""
SAID = {"error"}
"""Keys whose values are sentences: that there is one counts, not how it is worded."""
CLOSE = 1e-3  # float32 products added up in another order, float16 written with few digits
SHOWN = 60


@dataclass(frozen=True)
class Known:
    """A difference that is meant. `exchange` and `what` are shell patterns; `what` is of a difference as it is shown,
    `status: 500 / 400`, Triton's first.
    """

    exchange: str
    what: str
    why: str

    def covers(self, exchange: str, difference: str) -> bool:
        return fnmatchcase(exchange, self.exchange) and fnmatchcase(difference, self.what)


@dataclass(frozen=True)
class Compared:
    """One exchange. `known`: the differences that are meant, with the reason; `unknown` the others."""

    name: str
    triton: str
    ours: str
    known: Mapping[str, Known] = field(default_factory=dict)
    unknown: Sequence[str] = ()

    @property
    def verdict(self) -> str:
        return "DIFFERENT" if self.unknown else "known" if self.known else "same"


def compared(name: str, triton: Answer, ours: Answer, table: Sequence[Known]) -> Compared:
    known: dict[str, Known] = {}
    unknown: list[str] = []
    for difference in differences(triton, ours):
        meant = next((entry for entry in table if entry.covers(name, difference)), None)
        if meant is None:
            unknown.append(difference)
        else:
            known[difference] = meant
    return Compared(name, _short(triton), _short(ours), known, unknown)


def stale(table: Sequence[Known], found: Sequence[Compared]) -> list[Known]:
    """What is called known and is no difference any more."""
    met = {id(entry) for each in found for entry in each.known.values()}
    return [entry for entry in table if id(entry) not in met]


def differences(triton: Answer, ours: Answer) -> list[str]:
    """Each as `place: Triton's / ours`. Where one of them is an error and the other none, that alone."""
    if (triton.status >= 400) != (ours.status >= 400) or bool(triton.status) != bool(ours.status):
        return [_difference("status", triton.status, ours.status)]
    found = [
        _difference(name, getattr(triton, name), getattr(ours, name))
        for name in ("status", "packing", "head_length", "text")
        if getattr(triton, name) != getattr(ours, name)
    ]
    is_empty = triton.json is None and triton.text is None
    if triton.content_type != ours.content_type and not is_empty:
        found.append(_difference("content_type", triton.content_type, ours.content_type))
    return [*found, *_apart("json", triton.json, ours.json), *_apart("binary", triton.binary, ours.binary)]


def _apart(place: str, triton: Any, ours: Any) -> Iterator[str]:
    if isinstance(triton, dict) and isinstance(ours, dict):
        for key in sorted({*triton, *ours}):
            inner = f"{place}.{key}"
            if key not in ours or key not in triton:
                yield _difference(inner, triton.get(key, _MISSING), ours.get(key, _MISSING))
            elif key in SAID | MEASURED:
                if _kind(triton[key]) != _kind(ours[key]):
                    yield _difference(inner, triton[key], ours[key])
            else:
                yield from _apart(inner, triton[key], _unnamed(ours[key]) if key in VERSIONS else ours[key])
    elif isinstance(triton, list) and isinstance(ours, list):
        if len(triton) != len(ours):
            yield _difference(f"{place}.length", len(triton), len(ours))
        for number, pair in enumerate(zip(triton, ours, strict=False)):
            yield from _apart(f"{place}.{number}", *pair)
    elif not _same(triton, ours):
        yield _difference(place, triton, ours)


def _unnamed(version: Any) -> Any:
    """Ours as Triton writes it."""
    if isinstance(version, list):
        return [_unnamed(each) for each in version]
    match = re.fullmatch(r"v0*(\d+)", str(version))
    return match[1] if match else version


def _same(triton: Any, ours: Any) -> bool:
    if _kind(triton) == _kind(ours) == "number":
        return math.isclose(triton, ours, rel_tol=CLOSE, abs_tol=CLOSE)
    return bool(triton == ours) and _kind(triton) == _kind(ours)


def _kind(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    return type(value).__name__


class _Missing:
    """Stands for a key that one side has not."""


_MISSING = _Missing()


def _difference(place: str, triton: Any, ours: Any) -> str:
    return f"{place}: {_shown(triton)} / {_shown(ours)}"


def _shown(value: Any) -> str:
    if value is None or isinstance(value, _Missing):
        return "-"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _short(answer: Answer) -> str:
    """For the table: the status and how it is answered."""
    form = (answer.content_type or "-").removeprefix("application/")
    return f"{answer.status} {form}{' ' + answer.packing if answer.packing else ''}"
