"""What clients report of games, and showing requests to a version that is not live."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from supervisor.contract import Json
from supervisor.serving import outcomes, payload, shadow
from supervisor.serving.bodies import whole_body
from supervisor.serving.desk import Desk
from supervisor.serving.doors import Doors
from supervisor.serving.engine import Engine
from supervisor.serving.errors import ApiError
from supervisor.serving.options import ServerOptions
from supervisor.serving.outcomes import Reported
from supervisor.serving.served import Slot
from supervisor.serving.shadows import Shadows
from supervisor.serving.watch import Watch

DEFAULT_SHARE = 0.1
AT_ONCE = 100  # outcomes, in about a millisecond


class WatchRoutes:
    def __init__(
        self, engine: Engine, watch: Watch, shadows: Shadows, desk: Desk, access: Doors, options: ServerOptions
    ) -> None:
        self._engine, self._watch, self._shadows, self._desk = engine, watch, shadows, desk
        self._access, self._options = access, options

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/outcome/{archetype}/{model_type}", self.outcome, methods=["POST"]),
            Route("/shadow/{archetype}/{model_type}", self.show, methods=["POST"]),
            Route("/shadow/{archetype}/{model_type}", self.hide, methods=["DELETE"]),
        ]

    async def outcome(self, request: Request) -> JSONResponse:
        """Outcomes may take a version out of production, so they are as protected as a rollback."""
        self._access.check(request)
        body = await whole_body(request, self._options)
        slot = self._engine.slots.known(_target(request))
        accepted = tested = 0
        ignored: list[Json] = []
        last: ApiError | None = None
        for index, reported in enumerate(outcomes.decode(body)):
            if index % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)  # others wait for actions
            try:
                tested += self._report(slot, reported)
                accepted += 1
            except ApiError as error:
                ignored.append({"index": index, "code": error.code, "message": error.message})
                last = error
        self._watch.look(slot)
        if last is not None and not accepted:
            raise last
        return JSONResponse({"accepted": accepted, "tested": tested, "ignored": ignored})

    def _report(self, slot: Slot, reported: Reported) -> bool:
        name, key, is_believed = reported.version, reported.client_key, True
        if reported.request_id is not None:
            known = self._desk.answered.take(slot.target, reported.request_id)
            if known is None:
                told = f"no request {reported.request_id[:100]!r} is remembered, or its outcome was told before"
                raise ApiError(404, "unknown_request", told)
            name, key, is_believed = known[0], known[1], False
        return self._watch.report(slot, slot.serving(name), reported.score, key, is_believed)

    async def show(self, request: Request) -> JSONResponse:
        self._access.check(request)
        order = payload.object_of(await whole_body(request, self._options), 'send {"version": "v000042"}')
        version, share = _shadow_order(order)
        started = await self._shadows.show(_target(request), version, share)
        return JSONResponse(shadow.listed(started))

    async def hide(self, request: Request) -> JSONResponse:
        self._access.check(request)
        ended = self._shadows.hide(_target(request))
        return JSONResponse({"shadow": None if ended is None else shadow.listed(ended)})


def _shadow_order(order: dict[str, Json]) -> tuple[str, float]:
    version, share = order.get("version"), order.get("share", DEFAULT_SHARE)
    mistakes = [
        f"{name[:40]}: unknown; there are version and share" for name in sorted({*order} - {"version", "share"})
    ]
    if not isinstance(version, str):
        mistakes.append("version: must be text like v000042")
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0.0 < share <= 1.0:
        mistakes.append("share: must be a number above 0, at most 1")
    if mistakes:
        raise ApiError(400, "bad_order", "; ".join(mistakes))
    assert isinstance(version, str)
    assert isinstance(share, int | float)
    return version, float(share)


def _target(request: Request) -> str:
    return f"{request.path_params['archetype']}/{request.path_params['model_type']}"
