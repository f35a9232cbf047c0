"""`POST /experience`: steps of play, from whoever plays. Answered once they are durable."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from supervisor.experience.intake import messages
from supervisor.experience.intake.intake import Intake, NotTakenError
from supervisor.experience.intake.reading import CONTENT_TYPES, JSON
from supervisor.serving.arms import CLIENT_KEY
from supervisor.serving.bodies import whole_body
from supervisor.serving.doors import Doors
from supervisor.serving.errors import ApiError
from supervisor.serving.options import ServerOptions

PARCEL_KEY = "idempotency-key"
LONGEST_KEY = 128
LATER = {"Retry-After": "1"}


class ExperienceRoutes:
    def __init__(self, intake: Intake, access: Doors, options: ServerOptions) -> None:
        self._intake, self._access, self._options = intake, access, options

    def routes(self) -> list[BaseRoute]:
        return [Route("/experience", self.experience, methods=["POST"])]

    async def experience(self, request: Request) -> JSONResponse:
        """What models learn from decides what they do, so it is as protected as a rollback."""
        self._access.check(request)
        own = self._intake.options
        if not own.accept:
            raise ApiError(404, "not_accepted", "this server takes no experiences: experience.accept is false")
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in CONTENT_TYPES:
            raise ApiError(415, "unsupported_type", f"Content-Type {kind[:100]!r}; send {', '.join(CONTENT_TYPES)}")
        client, key = _client(request), _named(request, PARCEL_KEY)
        # One document is read in one go, while everybody waits: many rows are lines or a frame.
        most_kb = min(own.max_body_kb, self._options.max_body_kb) if kind == JSON else own.max_body_kb
        body = await whole_body(request, replace(self._options, max_body_kb=most_kb))
        if not body:
            raise ApiError(400, "empty_body", "the body is empty: send experiences")
        try:
            taken = await self._intake.take(body, kind, client, key)
        except NotTakenError as error:
            raise _told(error) from error
        stored = taken.stored
        return JSONResponse(
            {
                "accepted": stored.rows,
                "quarantined": stored.quarantined,
                "repeated": stored.repeated,
                "reasons": taken.reasons,
            }
        )


def _told(error: NotTakenError) -> ApiError:
    """Of the store no more than that it is down."""
    if error.why == messages.UNREADABLE:
        return ApiError(422, "unreadable", f"nothing in the body is an experience: {error}")
    if error.why == messages.TOO_MANY_ROWS:
        return ApiError(413, "too_many_experiences", str(error))
    if error.why == messages.NO_ROOM:
        return ApiError(503, "no_room", f"{error}; send it again", LATER)
    if error.why == messages.STORE_DOWN:
        told = "the experience store cannot be written now; keep this and send it again"
        return ApiError(503, "store_down", told, LATER)
    return ApiError(500, "internal_error", "a fault of the server; its console says more")


def _client(request: Request) -> str:
    """Whose keys they are: as the client names itself, or where it is."""
    return _named(request, CLIENT_KEY.decode()) or (request.client.host if request.client else "")


def _named(request: Request, header: str) -> str:
    value = request.headers.get(header, "")
    if len(value) > LONGEST_KEY:
        raise ApiError(400, "key_too_long", f"{header}: {len(value)} characters, at most {LONGEST_KEY}")
    return value


@contextlib.asynccontextmanager
async def drained(intake: Intake) -> AsyncIterator[None]:
    """At the end of the block everything that was taken is durable."""
    try:
        yield
    finally:
        await intake.close()
