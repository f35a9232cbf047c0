"""How many inferences run at a time, seen from the routes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from starlette.requests import Request
from starlette.types import Message

from supervisor.serving.access import Access
from supervisor.serving.app import Service
from supervisor.serving.catalogue import Catalogue
from supervisor.serving.engine import Engine
from supervisor.serving.errors import ApiError
from supervisor.serving.options import ServerOptions
from supervisor.serving.session import Arrays, Session

ROOM = 3


class SlowEngine(Engine):
    """Each inference lasts until it is let go."""

    def __init__(self, run_dir: Path, options: ServerOptions) -> None:
        super().__init__(Catalogue(run_dir), options, lambda _: None, lambda: "now")
        self.begun = asyncio.Semaphore(0)
        self.let_go = asyncio.Event()

    async def infer(self, target: str, decode: Callable[[Session], Arrays]) -> tuple[str, Arrays]:
        self.begun.release()
        await self.let_go.wait()
        return "v000001", {"q_values": np.zeros((1, 10), np.float32)}


def a_request() -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    path = {"archetype": "aggressive", "model_type": "combat_dqn"}
    return Request({"type": "http", "method": "POST", "headers": [], "path_params": path}, receive)


def test_inferences_beyond_the_bound_are_told_to_come_again(tmp_path: Path) -> None:
    async def crowd() -> None:
        options = ServerOptions(max_in_flight=ROOM)
        engine = SlowEngine(tmp_path, options)
        service = Service(engine, Access.to("127.0.0.1", None), options, lambda: None, lambda: None)
        running = [asyncio.create_task(service.infer(a_request())) for _ in range(ROOM)]
        for _ in range(ROOM):
            await engine.begun.acquire()
        with pytest.raises(ApiError) as refused:
            await service.infer(a_request())
        assert (refused.value.status, refused.value.code) == (503, "overloaded")
        assert refused.value.headers["Retry-After"] == "1"
        engine.let_go.set()
        assert [answer.status_code for answer in await asyncio.gather(*running)] == [200] * ROOM
        assert (await service.infer(a_request())).status_code == 200

    asyncio.run(asyncio.wait_for(crowd(), timeout=30))
