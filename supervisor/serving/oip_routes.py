"""The Open Inference Protocol, version 2, with Triton's extensions for binary data, repository, statistics and
configuration: everything but what an inference says, which is in `oip`.

A model's name is `archetype.model_type`. Where Triton and the protocol's text differ, stock clients decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version as version_of

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from supervisor.contract import Json
from supervisor.serving.bodies import whole_body
from supervisor.serving.desk import Desk
from supervisor.serving.doors import Doors
from supervisor.serving.engine import Engine
from supervisor.serving.errors import ApiError
from supervisor.serving.oip import bad, metadata
from supervisor.serving.options import ServerOptions
from supervisor.serving.provider import CPU, CUDA
from supervisor.serving.served import Served, Slot
from supervisor.serving.slots import oip_name
from supervisor.serving.waiting import infer

NAME = "incumbent"
EXTENSIONS: Sequence[Json] = [
    "binary_tensor_data",
    "model_configuration",
    "model_repository",
    "statistics",
    "schedule_policy",
]
_NS = 1e9
_INSTANCE_KINDS = {CPU: "KIND_CPU", CUDA: "KIND_GPU"}

Endpoint = Callable[[Request], object]


class OipRoutes:
    def __init__(self, engine: Engine, desk: Desk, access: Doors, options: ServerOptions) -> None:
        self._engine, self._desk, self._access, self._options = engine, desk, access, options

    def routes(self, prefix: str) -> list[BaseRoute]:
        model, repository = f"{prefix}/models/{{name}}", f"{prefix}/repository"
        versioned: list[tuple[str, Endpoint, str]] = [
            ("", self.metadata, "GET"),
            ("/ready", self.model_ready, "GET"),
            ("/config", self.configuration, "GET"),
            ("/stats", self.statistics, "GET"),
            ("/infer", self.infer, "POST"),
        ]
        return [
            Route(prefix, self.server),
            Route(f"{prefix}/health/live", self.live),
            Route(f"{prefix}/health/ready", self.ready),
            Route(f"{prefix}/models/stats", self.statistics),
            *(
                Route(f"{model}{version}{path}", endpoint, methods=[method])
                for path, endpoint, method in versioned
                for version in ("", "/versions/{version}")
            ),
            Route(f"{repository}/index", self.index, methods=["POST"]),
            Route(f"{repository}/models/{{name}}/load", self.load, methods=["POST"]),
            Route(f"{repository}/models/{{name}}/unload", self.unload, methods=["POST"]),
        ]

    async def server(self, request: Request) -> Response:
        return JSONResponse({"name": NAME, "version": version_of(NAME), "extensions": list(EXTENSIONS)})

    async def live(self, request: Request) -> Response:
        return Response()

    async def ready(self, request: Request) -> Response:
        """Ready is a server that answers for a model at least; during a reload it stays so."""
        if not any(slot.live for slot in self._engine.slots):
            raise ApiError(503, "not_ready", "no model is loaded yet", {"Retry-After": "5"})
        return Response()

    async def metadata(self, request: Request) -> Response:
        slot, served = self._asked(request)
        names = [own.version.name for own in (slot.live, slot.previous) if own is not None]
        return JSONResponse(metadata(oip_name(slot.target), names, served.session))

    async def model_ready(self, request: Request) -> Response:
        self._asked(request)
        return Response()

    async def configuration(self, request: Request) -> Response:
        slot, served = self._asked(request)
        return JSONResponse(_configuration(oip_name(slot.target), served, self._options))

    async def statistics(self, request: Request) -> Response:
        if "name" in request.path_params:
            slot, served = self._asked(request)
            chosen = [(slot, served)]
        else:
            chosen = [(slot, slot.live) for slot in self._engine.slots if slot.live is not None]
        return JSONResponse({"model_stats": [_statistics(oip_name(slot.target), served) for slot, served in chosen]})

    async def infer(self, request: Request) -> Response:
        body = await whole_body(request, self._options)
        return await infer(self._desk, self._slot(request), _version(request), is_oip=True, request=request, body=body)

    async def index(self, request: Request) -> Response:
        only_ready = (await self._object(request)).get("ready", False)
        if not isinstance(only_ready, bool):
            raise bad("'ready' must be true or false")
        return JSONResponse([_indexed(slot) for slot in self._engine.slots if slot.live or not only_ready])

    async def load(self, request: Request) -> Response:
        """Take the version that is active now. A model comes from the registry, never with the request."""
        self._access.check(request)
        if (await self._object(request)).get("parameters") not in (None, {}):
            raise bad("'parameters' are not taken: models come from the registry, as the supervisor promoted them")
        name = request.path_params["name"]
        slot = self._engine.slots.named(name)
        await self._engine.reload(slot.target if slot else name.replace(".", "/", 1), None)
        return Response()

    async def unload(self, request: Request) -> Response:
        self._access.check(request)
        await self._object(request)
        await self._engine.unload(self._slot(request).target)
        return Response()

    def _slot(self, request: Request) -> Slot:
        name = request.path_params["name"]
        slot = self._engine.slots.named(name)
        if slot is None:
            raise ApiError(404, "unknown_model", f"Request for unknown model: '{name[:200]}' is not found")
        return slot

    def _asked(self, request: Request) -> tuple[Slot, Served]:
        slot = self._slot(request)
        return slot, slot.serving(_version(request))

    async def _object(self, request: Request) -> dict[str, Json]:
        """The body's JSON object, or an empty one. Raises ApiError (400)."""
        body = await whole_body(request, self._options)
        try:
            found = orjson.loads(body) if body.strip() else {}
        except ValueError as error:
            raise bad(f"failed to parse the request JSON: {str(error)[:200]}") from error
        if not isinstance(found, dict):
            raise bad("the body must be a JSON object or empty")
        return found


def _version(request: Request) -> str | None:
    version = request.path_params.get("version")
    return None if version is None else str(version)


def _indexed(slot: Slot) -> dict[str, Json]:
    name = oip_name(slot.target)
    if slot.live is not None:
        return {"name": name, "version": slot.live.version.name, "state": "READY"}
    reason = slot.refusal.message if slot.refusal else ""
    return {"name": name, "version": slot.refused_version or "", "state": "UNAVAILABLE", "reason": reason}


def _statistics(name: str, served: Served) -> dict[str, Json]:
    counts = served.counts

    def times(count: int, seconds: float) -> dict[str, Json]:
        return {"count": count, "ns": int(seconds * _NS)}

    nothing = times(0, 0.0)
    return {
        "name": name,
        "version": served.version.name,
        "last_inference": int((counts.last_run or 0) * 1000),
        "inference_count": counts.rows,
        "execution_count": counts.batches,
        "inference_stats": {
            "success": times(counts.answered, counts.total_s),
            "fail": times(counts.failed, 0.0),
            "queue": times(counts.answered, max(0.0, counts.total_s - counts.shared_run_s)),
            "compute_input": times(counts.answered, 0.0),
            "compute_infer": times(counts.answered, counts.shared_run_s),
            "compute_output": times(counts.answered, 0.0),
            "cache_hit": nothing,
            "cache_miss": nothing,
        },
        "response_stats": {},
        "batch_stats": [],
        "memory_usage": [],
    }


def _configuration(name: str, served: Served, options: ServerOptions) -> dict[str, Json]:
    def side(shapes: object, kind: str) -> list[Json]:
        assert isinstance(shapes, dict)
        return [{"name": own, "data_type": kind, "dims": [*shape[1:]]} for own, shape in shapes.items()]

    half = any(kind.__name__ == "float16" for kind in served.session.input_types.values())
    kind = "TYPE_FP16" if half else "TYPE_FP32"
    return {
        "name": name,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "version_policy": {"latest": {"num_versions": 2}},
        "max_batch_size": options.max_rows,
        "input": side(served.session.interface.inputs, kind),
        "output": side(served.session.interface.outputs, kind),
        "dynamic_batching": {"max_queue_delay_microseconds": 0},
        "instance_group": [{"name": name, "kind": _INSTANCE_KINDS[served.session.provider], "count": 1}],
    }
