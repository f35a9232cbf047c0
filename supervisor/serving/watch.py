"""The watches over new versions: which are open, what is reported to them, and what of it is not on disk yet.

Nothing is decided here: `watchman` looks whether a watch has come to something and acts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from supervisor.serving import window_file
from supervisor.serving.arms import Split
from supervisor.serving.options import WatchOptions
from supervisor.serving.served import Served, Slot
from supervisor.serving.watched import Watched
from supervisor.serving.window import Pair, Verdict, Window, restored
from supervisor.serving.window_file import Added, Baseline, Kept, Opened

TIME_WRITTEN_EVERY_S = 60.0


@dataclass
class Watching:
    """One watch, and what is to be written of it."""

    opened: Opened
    window: Window
    began_s: float  # of the monotonic clock, less what it was open before
    is_begun: bool  # its file is there
    ended_s: float | None = None
    pairs: list[Pair] = field(default_factory=list)  # not written yet
    faults: list[str] = field(default_factory=list)
    is_told: bool = True  # how it ended is written
    baseline: Baseline | None = None  # what it came to, not written yet
    timed: int = 0  # how often both versions were timed by turns, because the new one's batches took long
    written_s: float = field(default_factory=time.monotonic)

    def elapsed_s(self, now_s: float) -> float:
        return (now_s if self.ended_s is None else self.ended_s) - self.began_s

    @property
    def is_owed(self) -> bool:
        """Whether there is something new to write."""
        return not self.is_begun or bool(self.pairs) or bool(self.faults) or not self.is_told

    def is_overdue(self, now_s: float) -> bool:
        """Whether the time it has been open should be written again."""
        return self.ended_s is None and now_s - self.written_s > TIME_WRITTEN_EVERY_S


class Watch:
    """All methods belong to one event loop."""

    def __init__(
        self, run_dir: Path, options: WatchOptions, announce: Callable[[str], None], now_text: Callable[[], str]
    ):
        self._run_dir, self.options = run_dir, options
        self._announce, self._now_text = announce, now_text
        self._is_silent = False  # the disk's refusal has been told
        self.news = asyncio.Event()  # something may have come to an end, or should be written soon

    def begin(self, slot: Slot, new: Served, old: Served, kept: Kept | None = None) -> None:
        """Watch `new` against `old` from now on, or go on with what is kept of it."""
        if not self.options.enabled:
            return
        is_canary = self.options.canary is not None
        opened = (
            kept.opened
            if kept
            else Opened.of(slot.target, new.version, old.version, self._now_text(), is_canary, slot.baseline)
        )
        window = restored(self.options, kept.pairs, kept.faults) if kept else Window(self.options)
        watching = Watching(opened, window, time.monotonic() - (kept.elapsed_s if kept else 0.0), is_begun=bool(kept))
        slot.watching = watching

        def faulted(what: str) -> None:
            if watching.window.is_open:
                watching.window.faults.append(what)
                watching.faults.append(what)
                self.news.set()

        alike = new.session.interface == old.session.interface
        new.watched = Watched(old if alike else None, faulted)
        if self.options.share_new < 1.0:
            slot.split = Split(new, old, old if opened.is_canary else new, self.options.share_new)
        self.news.set()

    def end(self, slot: Slot, verdict: Verdict, baseline: Baseline | None = None) -> None:
        """The newer version is not watched any more: it gets all requests, unless it is not live any more."""
        slot.split = None
        for served in (slot.live, slot.previous):
            if served is not None:
                served.watched = None
        watching = slot.watching
        if watching is None or watching.ended_s is not None:
            return
        if watching.window.is_open:
            watching.window.verdict = verdict
        if baseline is not None:
            slot.baseline = watching.baseline = baseline
        watching.ended_s = time.monotonic()
        watching.is_told = False
        self.news.set()

    def kept(self, target: str) -> Kept | None:
        """What is written down of the target's last watch. Reads a file."""
        return window_file.read(self._run_dir, target)

    def report(self, slot: Slot, served: Served, client_key: bytes | None, score: float) -> bool:
        """A game that this version played, as its client reported it; whether the test takes it into account."""
        served.outcomes.add(score)
        watching = slot.watching
        if watching is None or not watching.window.is_open:
            return False
        if slot.split is None or (client_key is not None and slot.split.of(client_key) is not served):
            return False  # it had been the other version's client when it began
        if served not in (slot.split.new, slot.split.old):
            return False
        pair = watching.window.reported(served is slot.split.new, score)
        if pair is not None:
            watching.pairs.append(pair)
            if watching.window.due(0.0) is not None:
                self.news.set()
        return True

    async def write(self, slot: Slot, closing: bool = False) -> None:
        """What is owed of this target's watch. Where the disk refuses, that is told once, and tried again later."""
        watching, now_s = slot.watching, time.monotonic()
        if watching is None:
            return
        is_late = watching.is_overdue(now_s) or (closing and watching.ended_s is None)
        if not watching.is_owed and not is_late:
            return
        pairs, faults, is_begun = len(watching.pairs), len(watching.faults), watching.is_begun
        verdict, is_over = watching.window.verdict, watching.ended_s is not None
        added = Added(
            round(watching.elapsed_s(now_s), 3),
            tuple(watching.pairs),
            tuple(watching.faults),
            verdict,
            watching.baseline,
        )
        is_more = pairs or faults or is_over or is_late

        def work() -> None:
            if not is_begun:
                window_file.begin(self._run_dir, watching.opened)
            if is_more:
                window_file.add(self._run_dir, slot.target, added)

        try:
            await asyncio.to_thread(work)
        except Exception as error:  # whatever the disk has against it: production goes on
            if not self._is_silent:
                self._announce(f"what is watched cannot be written down, and a restart would forget it: {error}")
            self._is_silent = True
            return
        self._is_silent = False
        watching.is_begun, watching.written_s = True, now_s
        del watching.pairs[:pairs], watching.faults[:faults]
        watching.is_told = watching.is_told or is_over
