"""What waits together runs together, and nobody pays for another's mistake."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from supervisor.contract import Version
from supervisor.serving.batching import Batcher
from supervisor.serving.errors import ApiError
from supervisor.serving.leash import Leash
from supervisor.serving.oip import Reader
from supervisor.serving.served import Served
from supervisor.serving.session import Arrays, build
from tests.support import onnx_models as models

ROWS, ROOM = 8, 20
VERSION = Version("v000001", 1, {}, "a" * 64, None, None, 1)
NOISE = np.random.default_rng(1).standard_normal((64, models.STATE)).astype(np.float32)


@dataclass
class Asking:
    inputs: Arrays
    came_s: float = 0.0
    expires_s: float = float("inf")
    told: list[Arrays | ApiError] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def rows(self) -> int:
        return len(self.inputs["state"])

    def answer(self, served: Served, outputs: Arrays) -> None:
        self.told.append(outputs)
        self.ended.set()

    def fail(self, error: ApiError) -> None:
        self.told.append(error)
        self.ended.set()


def asking(begin: int, end: int, scale: float = 1.0, **more: float) -> Asking:
    return Asking({"state": NOISE[begin:end] * np.float32(scale)}, **more)


def served(model: bytes = b"", **changes: float) -> Served:
    session = build(model or models.mlp(1), models.INTERFACE, ROWS, Leash())
    session = replace(session, **{"seconds_per_run": 0.0, "seconds_per_row": 0.0, **changes})  # type: ignore[arg-type]
    return Served(VERSION, session, "now", Reader("a.b", session, ROWS))


def run(work: Callable[[Batcher], Awaitable[None]], rows: int = ROWS) -> None:
    async def whole() -> None:
        batcher = Batcher(ROOM, rows)
        await work(batcher)
        assert batcher.waiting == 0
        batcher.close()

    asyncio.run(asyncio.wait_for(whole(), timeout=60))


def values(request: Asking) -> np.ndarray:
    (told,) = request.told  # once
    assert not isinstance(told, ApiError), told.message
    return told["q_values"]


def code(request: Asking) -> str:
    (told,) = request.told
    assert isinstance(told, ApiError)
    return told.code


@pytest.mark.parametrize("aside", [False, True])
def test_what_comes_in_one_turn_runs_as_few_batches_and_each_gets_its_own_rows(aside: bool) -> None:
    async def work(batcher: Batcher) -> None:
        one = served(seconds_per_run=1.0 if aside else 0.0)
        requests = [asking(0, 3), asking(3, 4), asking(4, 8), asking(8, 16), asking(16, 17)]
        for request in requests:
            batcher.submit(one, request)
        assert not any(request.told for request in requests)
        for request in requests:
            await request.ended.wait()
        for request in requests:
            expected = models.mlp_values(1, request.inputs["state"])
            np.testing.assert_allclose(values(request), expected, rtol=1e-4, atol=1e-5)
        assert (one.counts.batches, one.counts.rows, one.counts.answered) == (3, 17, 5)

    run(work)


def test_while_a_batch_runs_in_a_thread_the_loop_goes_on_and_more_may_come() -> None:
    async def work(batcher: Batcher) -> None:
        slow, quick = served(seconds_per_run=1.0), served()
        first, second, third = asking(0, 1), asking(1, 2), asking(2, 3)
        batcher.submit(slow, first)
        await asyncio.sleep(0)
        assert slow.running
        batcher.submit(slow, second)
        batcher.submit(quick, third)
        await third.ended.wait()
        await second.ended.wait()
        assert first.told
        assert slow.counts.batches == 2
        assert not slow.running

    run(work)


def test_numbers_that_are_not_finite_are_refused_and_their_neighbours_answered() -> None:
    async def work(batcher: Batcher) -> None:
        one = served()
        good, bad = asking(0, 2), asking(2, 4)
        bad.inputs["state"][1, 5] = np.nan
        batcher.submit(one, good)
        batcher.submit(one, bad)
        await good.ended.wait()
        assert code(bad) == "not_finite"
        np.testing.assert_allclose(values(good), models.mlp_values(1, NOISE[:2]), rtol=1e-4, atol=1e-5)
        assert (one.counts.answered, one.counts.failed) == (1, 1)

    run(work)


def test_outputs_that_are_not_finite_fail_their_own_request_alone() -> None:
    async def work(batcher: Batcher) -> None:
        one = served(models.overflowing())
        good, bad = asking(0, 2), asking(2, 4, scale=1e30)
        batcher.submit(one, bad)
        batcher.submit(one, good)
        await good.ended.wait()
        assert code(bad) == "output_not_finite"
        assert bad.told[0].status == 422  # type: ignore[union-attr]
        assert np.isfinite(values(good)).all()
        assert one.counts.batches == 1

    run(work)


def test_a_model_that_fails_for_some_rows_answers_the_others() -> None:
    async def work(batcher: Batcher) -> None:
        one = served()
        good, bad = asking(0, 2), Asking({"state": NOISE[:2, :63]})  # a fault of ours: such a request is never read
        other = Asking({"state": NOISE[2:4]})
        for request in (bad, good, other):
            batcher.submit(one, request)
        await other.ended.wait()
        assert code(bad) == "model_failed"
        assert len(values(good)) == len(values(other)) == 2

    run(work)


def test_beyond_the_bound_requests_are_told_to_come_again() -> None:
    async def work(batcher: Batcher) -> None:
        one = served()
        requests = [asking(k, k + 1) for k in range(ROOM)]
        for request in requests:
            batcher.submit(one, request)
        with pytest.raises(ApiError) as refused:
            batcher.submit(one, asking(0, 1))
        assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "1")
        await requests[-1].ended.wait()
        batcher.submit(one, last := asking(0, 1))
        await last.ended.wait()

    run(work)


def test_a_request_that_waited_too_long_is_not_run() -> None:
    async def work(batcher: Batcher) -> None:
        one = served()
        late, early = asking(0, 2, expires_s=time.monotonic() - 1), asking(2, 4)
        batcher.submit(one, late)
        batcher.submit(one, early)
        await early.ended.wait()
        assert code(late) == "too_late"
        assert one.counts.rows == 2

    run(work)


def test_a_request_larger_than_a_batch_runs_by_itself() -> None:
    async def work(batcher: Batcher) -> None:
        one = served()
        requests = [asking(0, 1), asking(0, 16), asking(0, 1)]
        for request in requests:
            batcher.submit(one, request)
        await requests[-1].ended.wait()
        assert [len(values(request)) for request in requests] == [1, 16, 1]
        assert one.counts.batches == 3

    run(work)
