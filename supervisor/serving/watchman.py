"""Looks after the watches: concludes those that have come to something, takes out a version that is worse, writes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import statistics
import time
from collections.abc import AsyncIterator, Callable

from supervisor.contract import Decision
from supervisor.registry.server_rollbacks import Cause
from supervisor.serving.engine import Engine
from supervisor.serving.errors import ApiError
from supervisor.serving.served import Slot
from supervisor.serving.session import Arrays, Session
from supervisor.serving.watch import Watch, Watching
from supervisor.serving.window import Verdict
from supervisor.serving.window_file import Baseline

TURN_S = 1.0
SLOWER = 1.5  # than the version before: on a busy machine both are slow
TIMED_RUNS = 20

_log = logging.getLogger(__name__)


class Watchman:
    def __init__(self, engine: Engine, watch: Watch, announce: Callable[[str], None]) -> None:
        self._engine, self._watch, self._announce = engine, watch, announce
        self._refused: dict[str, str] = {}  # why a version could not be taken out, by target, as it was told
        self._at_work: dict[str, asyncio.Task[None]] = {}  # by target: a slow one keeps no other waiting
        self._is_leaving = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """At work while the block runs; at its end everything is written."""
        work = asyncio.create_task(self._work())
        try:
            yield
        finally:
            self._is_leaving = True  # nothing is cancelled: a thread that writes would go on all the same
            self._watch.news.set()
            await work
            await asyncio.gather(*self._at_work.values())
            for slot in self._engine.slots:
                await self._watch.write(slot, closing=True)

    async def _work(self) -> None:
        news = self._watch.news
        while not self._is_leaving:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), TURN_S)
            news.clear()
            for slot in self._engine.slots:
                if slot.watching is not None and slot.target not in self._at_work:
                    self._at_work[slot.target] = asyncio.create_task(self._see_to(slot))

    async def _see_to(self, slot: Slot) -> None:
        try:
            await self.look(slot)
            await self._watch.write(slot)
        except Exception:
            _log.exception("the watch over %s met a fault of the server", slot.target)
        finally:
            del self._at_work[slot.target]

    async def look(self, slot: Slot) -> None:
        """Conclude the target's watch if it has come to something."""
        watching = slot.watching
        if watching is None or not watching.window.is_open:
            return
        await self._time(slot, watching)
        verdict = watching.window.due(watching.elapsed_s(time.monotonic()))
        if verdict is None:
            return
        decision = await asyncio.to_thread(watching.window.decided)
        if slot.watching is not watching or not watching.window.is_open:
            return
        watching.window.decision = decision
        if verdict in (Verdict.DEGRADED, Verdict.FAULTY) and self._watch.options.rollback_on_degradation:
            await self._take_out(slot, watching, verdict)
        else:
            self._keep(slot, watching, verdict)

    async def _take_out(self, slot: Slot, watching: Watching, verdict: Verdict) -> None:
        cause = Cause.DEGRADED if verdict is Verdict.DEGRADED else Cause.HARD_FAULT
        try:
            await self._engine.rollback(slot.target, watching.opened.new, cause, why(watching, verdict), verdict)
        except ApiError as error:  # tried again at the next turn
            if self._refused.get(slot.target) != error.message:
                self._announce(f"{slot.target}: {watching.opened.new} is to be rolled back: {error.message}")
            self._refused[slot.target] = error.message
        else:
            self._refused.pop(slot.target, None)

    def _keep(self, slot: Slot, watching: Watching, verdict: Verdict) -> None:
        new, baseline = watching.window.new, None
        if verdict is Verdict.STABLE and new.mean is not None:
            baseline = Baseline(watching.opened.new, new.n, new.mean)
        self._watch.end(slot, verdict, baseline)
        told = f"{slot.target}: {watching.opened.new} is {verdict}: {why(watching, verdict)}"
        if verdict is not Verdict.UNDECIDED:  # where nobody reports outcomes, nobody waits for this
            self._announce(told)

    async def _time(self, slot: Slot, watching: Watching) -> None:
        """Where its runs take longer than they may, both versions are timed by turns: the machine may be busy."""
        new, old = slot.live, slot.previous
        if new is None or old is None or new.watched is None:
            return
        limit_s, p95_s = self._watch.options.max_latency_ms / 1e3, new.watched.p95_s()
        inputs = new.watched.last_inputs
        if p95_s is None or p95_s <= limit_s or inputs is None or new.session.interface != old.session.interface:
            return
        new.watched.run_s.clear()  # looked at again after as many runs more
        slow_s, was_s = await asyncio.to_thread(_timed, new.session, old.session, inputs)
        watching.timed += 1
        if slow_s > SLOWER * was_s and slot.watching is watching:
            slower = f"{slow_s / was_s:.1f} times as slow as before"
            told = f"P95 {p95_s * 1e3:.3g} ms a batch, {slower}, at most {limit_s * 1e3:g}"
            for _ in range(self._watch.options.max_faults):
                watching.failed(told)


def why(watching: Watching, verdict: Verdict) -> str:
    """A sentence for the console and for `rollbacks.jsonl`."""
    window, old = watching.window, watching.opened.old
    if verdict is Verdict.FAULTY:
        return f"{window.faults[-1]} ({old} is sound)"
    if window.loss is None:
        return f"nothing was reported in {watching.elapsed_s(time.monotonic()):.0f} s"
    return f"{_points(window.loss)} a game than {old}{_interval(window.decision)}, {window.test.n} pairs of games"


def _points(loss: float) -> str:
    return f"{abs(loss) * 100:.1f} points {'less' if loss > 0 else 'more'}"


def _interval(decision: Decision | None) -> str:
    if decision is None or decision.ci_low is None or decision.ci_high is None:
        return ""
    return f" (95 % interval of the loss {decision.ci_low * 100:.1f} to {decision.ci_high * 100:.1f})"


def _timed(new: Session, old: Session, inputs: Arrays) -> tuple[float, float]:
    """The median of each in seconds, run by turns; the tails are the machine's."""
    took: tuple[list[float], list[float]] = ([], [])
    sides = [(session, session.fitted(inputs), times) for session, times in zip((new, old), took, strict=True)]
    for _ in range(TIMED_RUNS):
        for session, own, times in sides:
            began_s = time.perf_counter()
            session.run(own)
            times.append(time.perf_counter() - began_s)
    return statistics.median(took[0]), statistics.median(took[1])
