"""What clients report: how a game ended that a version played."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from supervisor.contract import Json
from supervisor.serving import payload
from supervisor.serving.errors import ApiError

REQUEST_ID = b"x-request-id"
MOST_OUTCOMES = 1000
MOST_REMEMBERED = 65_536
LONGEST_ID = 128
MISTAKES_TOLD = 10
_FIELDS = ("version", "request_id", "score", "client_key")


@dataclass(frozen=True)
class Reported:
    """One outcome. Either the version is named, or a request that it answered."""

    score: float
    version: str | None = None
    request_id: str | None = None
    client_key: bytes | None = None


class Answered:
    """Which version got which request and whose it was, of the last requests that had an id. Each id is good for one
    outcome, so that one told twice counts once."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], tuple[str, bytes | None] | None] = OrderedDict()

    def note(self, target: str, request_id: str, version: str, client_key: bytes | None) -> None:
        if len(request_id) > LONGEST_ID or (client_key is not None and len(client_key) > LONGEST_ID):
            return
        self._known.setdefault((target, request_id), (version, client_key))  # nobody takes over another's
        if len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)

    def take(self, target: str, request_id: str) -> tuple[str, bytes | None] | None:
        """None where it is not known, or was taken before."""
        known = self._known.get((target, request_id))
        if known is not None:
            self._known[target, request_id] = None
        return known


def decode(body: bytes) -> list[Reported]:
    """`{"version":"v000042","score":1}`, `{"request_id":"…","score":0}` or `{"outcomes":[…]}` of those.

    Raises ApiError (400) with every mistake, up to ten.
    """
    whole = payload.object_of(body, 'send {"version": "v000042", "score": 1}')
    if "outcomes" in whole:
        items = whole["outcomes"]
        if len(whole) != 1 or not isinstance(items, list) or not 0 < len(items) <= MOST_OUTCOMES:
            raise _bad([f"outcomes: must be a list of 1 to {MOST_OUTCOMES}, and the only field"])
        named = [(f"outcomes[{index}].", item) for index, item in enumerate(items)]
    else:
        named = [("", whole)]
    mistakes = [mistake for where, item in named for mistake in _mistakes(where, item)]
    if mistakes:
        raise _bad(mistakes)
    return [_reported(item) for _, item in named if isinstance(item, dict)]


def _mistakes(where: str, item: Json) -> Iterator[str]:
    if not isinstance(item, dict):
        yield f"{where[:-1]}: must be an object"
        return
    for name in sorted(set(item) - set(_FIELDS)):
        yield f"{where}{name[:40]}: unknown; there are {', '.join(_FIELDS)}"
    score = item.get("score")
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0.0 <= score <= 1.0:
        yield f"{where}score: must be a number from 0 (lost) to 1 (won)"
    texts = [name for name in ("version", "request_id", "client_key") if item.get(name) is not None]
    for name in texts:
        if not isinstance(item[name], str) or not item[name]:
            yield f"{where}{name}: must be text"
    if ("version" in texts) == ("request_id" in texts):
        yield f"{where[:-1] or 'an outcome'}: names either the version that played or the id of one of its requests"


def _reported(item: dict[str, Json]) -> Reported:
    score, version, request_id, key = (item.get(name) for name in ("score", "version", "request_id", "client_key"))
    assert isinstance(score, int | float)
    return Reported(
        float(score),
        version if isinstance(version, str) else None,
        request_id if isinstance(request_id, str) else None,
        key.encode("utf-8", "surrogatepass") if isinstance(key, str) else None,
    )


def _bad(mistakes: list[str]) -> ApiError:
    more = len(mistakes) - MISTAKES_TOLD
    told = "; ".join(mistakes[:MISTAKES_TOLD]) + (f"; and {more} more" if more > 0 else "")
    return ApiError(400, "bad_outcome", told)
