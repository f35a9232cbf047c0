"""The watches over new versions: which are open, what is reported to them, and what of it is not on disk yet.

Nothing is decided here: `watchman` looks whether a watch has come to something and acts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from supervisor.contract import Version
from supervisor.journal.durable import FsyncFailedError
from supervisor.serving import window_file
from supervisor.serving.arms import Split
from supervisor.serving.clients import Clients
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
    clients: Clients
    began_s: float  # of the monotonic clock, less what it was open before
    is_begun: bool  # its file is there
    ended_s: float | None = None
    pairs: list[Pair] = field(default_factory=list)  # not written yet
    faults: list[str] = field(default_factory=list)
    pairs_written: int = 0
    faults_written: int = 0
    is_told: bool = True  # how it ended is written
    baseline: Baseline | None = None  # what it came to, not written yet
    is_compared: bool = True  # whether the two versions take the same inputs
    timed: int = 0  # how often both versions were timed by turns, because the new one's batches took long
    is_lost: bool = False  # the disk refused to make it durable
    written_s: float = field(default_factory=time.monotonic)

    def failed(self, what: str) -> None:
        self.window.failed(what)
        self.faults = self.window.faults[self.faults_written :]

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
        began_s = time.monotonic() - (kept.elapsed_s if kept else 0.0)
        clients = Clients(self.options.settle_s, self.options.games_per_client)
        watching = Watching(opened, window, clients, began_s, is_begun=bool(kept))
        if kept:
            watching.pairs_written, watching.faults_written = len(kept.pairs), len(kept.faults)
        slot.watching = watching

        def faulted(what: str) -> None:
            watching.failed(what)
            self.news.set()

        alike = new.session.interface == old.session.interface
        new.watched = Watched(old if alike else None, faulted)
        if alike and self.options.share_new < 1.0:  # else a client held back would find other inputs than it sends
            keyless = old if opened.is_canary else new
            slot.split = Split(new, old, keyless, self.options.share_new)
        watching.is_compared = alike
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

    def comparison(self, kept: Kept, live: Version) -> tuple[tuple[str, str], bool] | None:
        """With which version (name and hash) a live one is to be compared that is served anew, and whether that goes on
        with what is kept; None where it was found stable, or is not newer than what was watched."""
        opened = kept.opened
        new, old = (opened.new, opened.new_sha256), (opened.old, opened.old_sha256)
        if (live.name, live.model_sha256) == new:
            goes_on = kept.verdict is Verdict.WATCHING and opened.is_canary == (self.options.canary is not None)
            return (old, goes_on) if kept.verdict in (Verdict.WATCHING, Verdict.SUPERSEDED) else None
        if kept.verdict in (Verdict.DEGRADED, Verdict.FAULTY, Verdict.ROLLED_BACK):
            return old, False
        was_at_large = kept.verdict in (Verdict.STABLE, Verdict.UNDECIDED) or not opened.is_canary
        return (new if was_at_large else old), False

    def kept(self, target: str) -> Kept | None:
        """What is written down of the target's last watch. Reads a file."""
        return window_file.read(self._run_dir, target)

    def report(self, slot: Slot, served: Served, score: float, client_key: bytes | None, is_believed: bool) -> bool:
        """A game that this version played, as its client reported it; whether the test takes it into account.

        Whether it may is seen by the client's key. Without one it is `is_believed`, or not.
        """
        served.outcomes.add(score)
        watching, split = slot.watching, slot.split
        if watching is None or split is None or not watching.window.is_open:
            return False
        if client_key is None:
            if not is_believed:
                return False
        elif split.of(client_key) is not served:
            return False  # it had been the other version's client when it began
        elif not watching.clients.counts(client_key, watching.elapsed_s(time.monotonic())):
            return False
        pair = watching.window.reported(served is split.new, score)
        if pair is not None:
            watching.pairs.append(pair)
        return True

    def look(self, slot: Slot) -> None:
        """Outcomes have come: see whether somebody should act."""
        if slot.watching is not None and slot.watching.window.due(0.0) is not None:
            self.news.set()

    async def write(self, slot: Slot, closing: bool = False) -> None:
        """What is owed of this target's watch. Where the disk refuses, that is told once, and tried again later."""
        watching, now_s = slot.watching, time.monotonic()
        if watching is None or watching.is_lost:
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
            watching.pairs_written,
            watching.faults_written,
        )
        is_more = pairs or faults or is_over or is_late

        def work() -> None:
            if not is_begun:
                window_file.begin(self._run_dir, watching.opened)
            if is_more:
                window_file.add(self._run_dir, slot.target, added)

        try:
            await asyncio.to_thread(work)
        except FsyncFailedError as error:  # nobody knows what is there: never tried again
            watching.is_lost = True
            self._announce(f"{slot.target}: what is watched is written no more, and a restart forgets it: {error}")
            return
        except Exception as error:  # whatever else the disk has against it: production goes on
            if not self._is_silent:
                self._announce(f"what is watched cannot be written down, and a restart would forget it: {error}")
            self._is_silent = True
            return
        self._is_silent = False
        watching.is_begun, watching.written_s = True, now_s
        watching.pairs_written += pairs
        watching.faults_written += faults
        del watching.pairs[:pairs], watching.faults[:faults]
        watching.is_told = watching.is_told or is_over
