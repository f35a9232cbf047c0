"""Building a model ends, whatever the file."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref

import pytest

from supervisor.serving import leash as leashes
from supervisor.serving.errors import Refused
from supervisor.serving.leash import Leash, on_leash
from supervisor.serving.session import build
from tests.support import onnx_models as models


def test_the_result_of_work_in_time_is_handed_back() -> None:
    assert asyncio.run(on_leash(lambda leash: 7, 5.0, "work")) == 7


def test_an_error_of_the_work_is_raised_as_it_is() -> None:
    def fail(leash: Leash) -> None:
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        asyncio.run(on_leash(fail, 5.0, "work"))


def test_a_model_that_takes_minutes_is_cut_off_and_the_loop_lives_meanwhile() -> None:
    data = models.slow(180, size=1024)
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.001)
            beats += 1

    async def load() -> None:
        heart = asyncio.create_task(beat())
        try:
            await on_leash(lambda leash: build(data, models.INTERFACE, 256, leash), 0.3, "slow-model")
        finally:
            heart.cancel()

    started_s = time.monotonic()
    with pytest.raises(Refused) as caught:
        asyncio.run(load())
    assert caught.value.code == "too_slow"
    assert time.monotonic() - started_s < 0.3 + leashes.CUT_GRACE_S  # the runtime let go, it was not merely left behind
    assert beats > 20
    for thread in threading.enumerate():
        if thread.name == "slow-model":
            thread.join(5)
            assert not thread.is_alive()


def test_work_that_does_not_let_go_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leashes, "CUT_GRACE_S", 0.05)
    release = threading.Event()

    async def attempt() -> None:
        with pytest.raises(Refused):
            await on_leash(lambda leash: release.wait(60), 0.05, "stuck")
        assert await on_leash(lambda leash: "next", 5.0, "after") == "next"

    asyncio.run(attempt())
    stuck = next(thread for thread in threading.enumerate() if thread.name == "stuck")
    release.set()
    stuck.join(5)
    assert not stuck.is_alive()


def test_work_that_has_used_up_its_share_of_a_core_is_cut_long_before_its_time_is() -> None:
    def spin(leash: Leash) -> None:
        with leash.limited(0.05):
            while leash.reason is None:
                pass

    with pytest.raises(Refused, match=r"0\.05 s of a core"):
        asyncio.run(on_leash(spin, 600.0, "spinning"))


def test_waiting_is_no_work() -> None:
    def wait(leash: Leash) -> str:
        with leash.limited(0.01):
            assert not threading.Event().wait(0.1)
        return "done"

    assert asyncio.run(on_leash(wait, 600.0, "waiting")) == "done"


def test_a_refusal_that_is_kept_keeps_nothing_of_the_file() -> None:
    class Bytes:
        pass

    held: list[weakref.ref[Bytes]] = []

    def fail(leash: Leash) -> None:
        data = Bytes()
        held.append(weakref.ref(data))
        try:
            {}["inside"]
        except KeyError as error:
            raise Refused(422, "damaged", "no good") from error

    with pytest.raises(Refused) as kept:
        asyncio.run(on_leash(fail, 5.0, "failing"))
    assert kept.value.code == "damaged"
    assert held[0]() is None
