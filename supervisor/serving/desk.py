"""Where inference requests are read and handed on to run, whichever way they came in."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from supervisor.serving import payload, raw
from supervisor.serving.arms import CLIENT_KEY
from supervisor.serving.asked import BINARY_TYPE, CONTENT_TYPE, Asked, Sent, Written
from supervisor.serving.batching import Batcher
from supervisor.serving.errors import ApiError
from supervisor.serving.oip import HEAD_LENGTH
from supervisor.serving.options import ServerOptions
from supervisor.serving.outcomes import REQUEST_ID, Answered
from supervisor.serving.served import Served, Slot
from supervisor.serving.session import Arrays
from supervisor.serving.slots import Slots

READ_HEADERS = frozenset({CONTENT_TYPE, HEAD_LENGTH, CLIENT_KEY, REQUEST_ID})
"""The headers that say how to read a body, and from whom it is."""

_OWN, _OIP, _INFER = "/infer/", "/v2/models/", "/infer"


@dataclass(frozen=True, slots=True)
class Route:
    """The model that a path names, and the form of request that it takes."""

    slot: Slot
    is_oip: bool


class Request:
    """What waits to be run, see `batching.Waiting`. Whoever asks makes one that knows where the answer goes, and the
    desk fills it in.
    """

    __slots__ = ("came_s", "expires_s", "inputs", "rows", "write")

    inputs: Arrays
    rows: int
    came_s: float
    expires_s: float
    write: Callable[[str, Arrays], Written]

    def answer(self, served: Served, outputs: Arrays) -> None:
        self.deliver(self.write(served.version.name, outputs))

    def fail(self, error: ApiError) -> None:
        self.deliver(error)

    def deliver(self, told: Written | ApiError) -> None:
        """Called once, on the event loop, with the answer."""
        raise NotImplementedError


class Desk:
    """Belongs to one event loop."""

    def __init__(self, slots: Slots, batcher: Batcher, options: ServerOptions) -> None:
        self._slots, self._batcher, self._options = slots, batcher, options
        self._routes: dict[bytes, Route] = {}
        self.answered = Answered()
        self.refused_connections = 0

    def route(self, path: bytes) -> Route | None:
        """Of an inference path as it is usually written; None where it takes a closer look, or is none."""
        found = self._routes.get(path)
        if found is None:
            found = self._find(path.decode("latin-1"))
            if found is not None:  # there are never more of them than models and forms
                self._routes[path] = found
        return found

    def _find(self, path: str) -> Route | None:
        if path.startswith(_OWN):
            slot = self._slots.get(path.removeprefix(_OWN))
            return None if slot is None else Route(slot, is_oip=False)
        if path.startswith(_OIP) and path.endswith(_INFER):
            slot = self._slots.named(path.removeprefix(_OIP).removesuffix(_INFER))
            return None if slot is None else Route(slot, is_oip=True)
        return None

    def close(self) -> None:
        self._batcher.close()

    def ask(self, slot: Slot, version: str | None, is_oip: bool, sent: Sent, request: Request) -> None:
        """Have it run by the live version, or the named one. Raises ApiError where it is wrong or there is no room."""
        key = sent.headers.get(CLIENT_KEY) or None
        if version is not None or slot.live is None:
            served = slot.serving(version)
        else:
            served = slot.live if slot.split is None else slot.split.of(key)
        request.inputs, request.rows, request.write, timeout_s, own_id = self._read(served, is_oip, sent)
        limit_s = self._options.deadline_s
        request.came_s = now_s = time.monotonic()
        request.expires_s = now_s + (limit_s if timeout_s is None else min(timeout_s, limit_s))
        self._batcher.submit(served, request)
        given = sent.headers.get(REQUEST_ID)
        if own_id is not None or given is not None:
            name = own_id if own_id is not None else (given or b"").decode("utf-8", "replace")
            self.answered.note(slot.target, name, served.version.name, key)

    def _read(self, served: Served, is_oip: bool, sent: Sent) -> Asked:
        if is_oip:
            return served.oip.decode(sent)
        if sent.headers.get(CONTENT_TYPE) == BINARY_TYPE:
            return raw.decode(sent, served.session, self._options.max_rows)
        return payload.decode(sent, served.session, self._options.max_rows)
