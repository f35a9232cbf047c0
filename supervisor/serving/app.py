"""The HTTP interface: routes, and every error as `{"error":{"code","message"}}`, under `/v2` as `{"error": text}`."""

from __future__ import annotations

import contextlib
import http
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from supervisor.contract import Json
from supervisor.experience.intake.intake import Intake
from supervisor.journal.identity import RunIdentity
from supervisor.registry.server_rollbacks import Cause
from supervisor.serving import payload
from supervisor.serving.bodies import whole_body
from supervisor.serving.desk import Desk
from supervisor.serving.doors import Doors
from supervisor.serving.engine import Engine, Swap
from supervisor.serving.errors import ApiError
from supervisor.serving.experience_routes import ExperienceRoutes, drained
from supervisor.serving.oip_routes import OipRoutes
from supervisor.serving.openapi import document as openapi
from supervisor.serving.options import ServerOptions
from supervisor.serving.shadows import Shadows
from supervisor.serving.waiting import infer
from supervisor.serving.watch import Watch
from supervisor.serving.watch_routes import WatchRoutes
from supervisor.serving.watchman import Watchman

OIP_PREFIX = "/v2"
MAX_REASON = 300


@dataclass
class Service:
    """What the routes work on. `identity` tells the run folder's identity, None before its first start."""

    engine: Engine
    desk: Desk
    access: Doors
    options: ServerOptions
    identity: Callable[[], RunIdentity | None]
    ready: Callable[[], None]  # called once everything active is loaded
    measured: Callable[[], bytes]  # for Prometheus
    watch: Watch
    watchman: Watchman
    shadows: Shadows
    intake: Intake

    async def health(self, request: Request) -> JSONResponse:
        identity = self.identity()
        return JSONResponse(
            {
                "status": "ok",
                "run_id": identity.run_id if identity else None,
                "folder_id": identity.folder_id if identity else None,
                "pid": os.getpid(),
                "models": len(self.engine.models()),
            }
        )

    async def readiness(self, request: Request) -> JSONResponse:
        models = len(self.engine.models())
        if not models:
            raise ApiError(503, "not_ready", "no model is loaded yet; see /models", {"Retry-After": "5"})
        return JSONResponse({"status": "ready", "models": models})

    async def models(self, request: Request) -> JSONResponse:
        return JSONResponse({"models": self.engine.models(), "refused": self.engine.refusals()})

    async def metrics(self, request: Request) -> Response:
        return Response(self.measured(), media_type=CONTENT_TYPE_LATEST)

    async def openapi(self, request: Request) -> Response:
        return Response(openapi.written(self.options.max_rows), media_type="application/json")

    async def reload(self, request: Request) -> JSONResponse:
        self.access.check(request)
        order = payload.decode_order(await whole_body(request, self.options), "version")
        return _swapped(request, await self.engine.reload(_target(request), order.get("version")))

    async def rollback(self, request: Request) -> JSONResponse:
        self.access.check(request)
        order = payload.decode_order(await whole_body(request, self.options), "version", "reason")
        target, reason = _target(request), order.get("reason", "asked for over HTTP")
        return _swapped(
            request, await self.engine.rollback(target, order.get("version"), Cause.MANUAL, reason[:MAX_REASON])
        )

    async def infer(self, request: Request) -> Response:
        body = await whole_body(request, self.options)  # whoever sends it slowly takes up nobody's room
        slot = self.engine.slots.known(_target(request))
        return await infer(self.desk, slot, None, is_oip=False, request=request, body=body)


def _swapped(request: Request, swap: Swap) -> JSONResponse:
    answer: dict[str, Json] = {
        "archetype": request.path_params["archetype"],
        "model_type": request.path_params["model_type"],
        "version": swap.live.version.name,
        "sha256": swap.live.version.model_sha256,
        "before": swap.before,
        "changed": swap.changed,
    }
    return JSONResponse(answer)


def _target(request: Request) -> str:
    return f"{request.path_params['archetype']}/{request.path_params['model_type']}"


def _told(request: Request, error: ApiError) -> JSONResponse:
    is_oip = request.url.path == OIP_PREFIX or request.url.path.startswith(f"{OIP_PREFIX}/")
    body = {"error": error.message} if is_oip else error.body()
    return JSONResponse(body, error.status, headers=dict(error.headers))


def _api_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return _told(request, error)


def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    status = http.HTTPStatus(error.status_code)
    headers = dict(error.headers or {})
    return _told(request, ApiError(error.status_code, status.name.lower(), f"{status.phrase}; {_ROUTES_TEXT}", headers))


def _bug(request: Request, __: Exception) -> JSONResponse:
    """The console gets the traceback, the client does not."""
    return _told(request, ApiError(500, "internal_error", "a fault of the server; its console says more"))


_ROUTES_TEXT = (
    "there are GET /health /ready /models /metrics /openapi.json, POST /infer/{archetype}/{model_type},"
    " POST /reload/{archetype}/{model_type}, POST /rollback/{archetype}/{model_type},"
    " POST /outcome/{archetype}/{model_type}, POST /experience, POST and DELETE /shadow/{archetype}/{model_type},"
    " and the Open Inference Protocol under /v2"
)


def build_app(service: Service) -> Starlette:
    """The application; models are loaded in its lifespan, before the first request is answered."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await service.engine.load_active()
        service.ready()
        async with drained(service.intake), service.watchman.running():
            yield

    app = Starlette(
        routes=[
            Route("/health", service.health),
            Route("/ready", service.readiness),
            Route("/models", service.models),
            Route("/metrics", service.metrics),
            Route("/openapi.json", service.openapi),
            Route("/infer/{archetype}/{model_type}", service.infer, methods=["POST"]),
            Route("/reload/{archetype}/{model_type}", service.reload, methods=["POST"]),
            Route("/rollback/{archetype}/{model_type}", service.rollback, methods=["POST"]),
            *WatchRoutes(
                service.engine, service.watch, service.shadows, service.desk, service.access, service.options
            ).routes(),
            *ExperienceRoutes(service.intake, service.access, service.options).routes(),
            *OipRoutes(service.engine, service.desk, service.access, service.options).routes(OIP_PREFIX),
        ],
        exception_handlers={ApiError: _api_error, HTTPException: _http_error, Exception: _bug},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app
