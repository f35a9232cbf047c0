"""An inference request that came through the application: it waits for its answer as a coroutine."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from supervisor.serving.asked import Sent, Written
from supervisor.serving.desk import READ_HEADERS, Desk
from supervisor.serving.errors import ApiError
from supervisor.serving.served import Slot


async def infer(desk: Desk, slot: Slot, version: str | None, is_oip: bool, request: Request, body: bytes) -> Response:
    """The answer. Raises ApiError."""
    told: asyncio.Future[Written | ApiError] = asyncio.get_running_loop().create_future()

    def deliver(answer: Written | ApiError) -> None:
        if not told.done():  # nobody waits any more once the client is gone
            told.set_result(answer)

    headers = {name: value for name, value in request.headers.raw if name in READ_HEADERS}
    desk.ask(slot, version, is_oip, Sent(body, headers), deliver)
    answer = await told
    if isinstance(answer, ApiError):
        raise answer
    response = Response(answer.body, media_type=answer.content_type.decode())
    response.raw_headers.extend(answer.headers)
    return response
