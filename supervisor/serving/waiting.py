"""An inference request that came through the application: it waits for its answer as a coroutine."""

from __future__ import annotations

import asyncio

from starlette.requests import Request as StarletteRequest
from starlette.responses import Response

from supervisor.serving.asked import Sent, Written
from supervisor.serving.desk import READ_HEADERS, Desk, Request
from supervisor.serving.errors import ApiError
from supervisor.serving.served import Slot


class Awaited(Request):
    """Its answer is a future."""

    __slots__ = ("told",)

    def __init__(self) -> None:
        self.told: asyncio.Future[Written | ApiError] = asyncio.get_running_loop().create_future()

    def deliver(self, told: Written | ApiError) -> None:
        if not self.told.done():  # nobody waits any more once the client is gone
            self.told.set_result(told)


async def infer(
    desk: Desk, slot: Slot, version: str | None, is_oip: bool, request: StarletteRequest, body: bytes
) -> Response:
    """The answer. Raises ApiError."""
    headers = {name: value for name, value in request.headers.raw if name in READ_HEADERS}
    awaited = Awaited()
    desk.ask(slot, version, is_oip, Sent(body, headers), awaited)
    answer = await awaited.told
    if isinstance(answer, ApiError):
        raise answer
    response = Response(answer.body, media_type=answer.content_type.decode())
    response.raw_headers.extend(answer.headers)
    return response
