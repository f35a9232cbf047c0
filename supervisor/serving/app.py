"""The HTTP interface: routes, and every error as `{"error":{"code","message"}}`."""

from __future__ import annotations

import asyncio
import contextlib
import http
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from supervisor.contract import Json
from supervisor.journal.identity import RunIdentity
from supervisor.serving import payload
from supervisor.serving.access import Access
from supervisor.serving.engine import Engine
from supervisor.serving.errors import ApiError
from supervisor.serving.options import ServerOptions


@dataclass
class Service:
    """What the routes work on. `identity` tells the run folder's identity, None before its first start."""

    engine: Engine
    access: Access
    options: ServerOptions
    identity: Callable[[], RunIdentity | None]
    ready: Callable[[], None]  # called once everything active is loaded
    in_flight: int = 0

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

    async def reload(self, request: Request) -> JSONResponse:
        self.access.check(request.headers)
        target = _target(request)
        swap = await self.engine.reload(target, payload.decode_version(await self._body(request)))
        answer: dict[str, Json] = {
            "archetype": request.path_params["archetype"],
            "model_type": request.path_params["model_type"],
            "version": swap.live.version.name,
            "sha256": swap.live.version.model_sha256,
            "before": swap.before,
            "changed": swap.changed,
        }
        return JSONResponse(answer)

    async def infer(self, request: Request) -> JSONResponse:
        body = await self._body(request)  # whoever sends it slowly takes up nobody's room
        with self._room():
            version, outputs = await self.engine.infer(
                _target(request), lambda session: payload.decode(body, session, self.options.max_rows)
            )
        return JSONResponse(payload.answer(version, outputs))

    @contextlib.contextmanager
    def _room(self) -> Iterator[None]:
        if self.in_flight >= self.options.max_in_flight:
            raise ApiError(503, "overloaded", "too many requests at once; try again", {"Retry-After": "1"})
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    async def _body(self, request: Request) -> bytes:
        """The body whole, whatever type it says it has (curl -d says it is a form). Raises ApiError
        (408, 413, 415)."""
        limit = self.options.max_body_kb * 1024
        too_large = ApiError(413, "body_too_large", f"at most {self.options.max_body_kb} kB in one request")
        if request.headers.get("content-encoding", "identity") != "identity":
            raise ApiError(415, "unsupported_encoding", "send the body uncompressed")
        if int(request.headers.get("content-length", 0)) > limit:
            raise too_large
        data = bytearray()
        limit_s = self.options.body_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                async for chunk in request.stream():
                    data += chunk
                    if len(data) > limit:
                        raise too_large
        except TimeoutError as error:
            close = {"Connection": "close"}  # or what is still to come would hold the connection open
            raise ApiError(
                408, "body_timeout", f"the body was not here whole within {limit_s:g} s; send it again", close
            ) from error
        except ClientDisconnect as error:
            raise ApiError(400, "client_gone", "the client left before its request was whole") from error
        return bytes(data)


def _target(request: Request) -> str:
    return f"{request.path_params['archetype']}/{request.path_params['model_type']}"


def _api_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body(), error.status, headers=dict(error.headers))


def _http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    status = http.HTTPStatus(error.status_code)
    body = ApiError(error.status_code, status.name.lower(), f"{status.phrase}; {_ROUTES_TEXT}").body()
    return JSONResponse(body, error.status_code, headers=error.headers)


def _bug(_: Request, __: Exception) -> JSONResponse:
    """The console gets the traceback, the client does not."""
    return JSONResponse(ApiError(500, "internal_error", "a fault of the server; its console says more").body(), 500)


_ROUTES_TEXT = (
    "there are GET /health /ready /models,"
    " POST /infer/{archetype}/{model_type} and POST /reload/{archetype}/{model_type}"
)


def build_app(service: Service) -> Starlette:
    """The application; models are loaded in its lifespan, before the first request is answered."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await service.engine.load_active()
        service.ready()
        yield

    app = Starlette(
        routes=[
            Route("/health", service.health),
            Route("/ready", service.readiness),
            Route("/models", service.models),
            Route("/infer/{archetype}/{model_type}", service.infer, methods=["POST"]),
            Route("/reload/{archetype}/{model_type}", service.reload, methods=["POST"]),
        ],
        exception_handlers={ApiError: _api_error, HTTPException: _http_error, Exception: _bug},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app
