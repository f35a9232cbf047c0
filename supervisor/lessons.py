"""The continuous cycle beside the search: looks into the experience store now and then, and hands out lessons.

A look takes as long as the database does, so a thread of its own does it. The lessons that it comes to are a file
before the first of them begins: whatever happens, the cycle goes on with the same ones.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from supervisor.config.continuous import ContinuousSettings
from supervisor.contract import TrialSpec, as_json, parse
from supervisor.experience.rows import MICROSECONDS
from supervisor.experience.store import ExperienceStore, Selection, StoreDownError
from supervisor.horizon import Horizon
from supervisor.journal import sealed
from supervisor.lesson import Lesson
from supervisor.look import askings, can_learn, look
from supervisor.search.target import TargetDefinition
from supervisor.silence import Silence
from supervisor.state import State

FILE_NAME = "cycle.json"

RETRY_S = 10.0
"""Before the next look where the store did not answer."""

OpenStore = Callable[[], ExperienceStore | None]
"""None where nothing was ever played."""


@dataclass(frozen=True)
class Cycle:
    """`cycle.json`: the number of the last look that got an answer, when it was, and what there was to learn."""

    number: int = 0
    looked_us: int = 0
    lessons: Sequence[Lesson] = ()


class Lessons:
    """Hands out the lessons of the present cycle; used from the loop's thread alone."""

    def __init__(
        self,
        run_dir: Path,
        settings: ContinuousSettings,
        definitions: Mapping[str, TargetDefinition],
        open_store: OpenStore,
        reader: str,
        report: Callable[[str, str], None],
        say: Callable[[str], None],
        *,
        once: bool = False,
        monotonic_s: Callable[[], float] = time.monotonic,
        now_us: Callable[[], int] = lambda: int(time.time() * MICROSECONDS),
    ) -> None:
        """`once`: after one cycle, or a look that found too little, it is `finished`."""
        self._path = run_dir / FILE_NAME
        self._settings = settings
        self._definitions = definitions
        self._open_store = open_store
        self._reader = reader
        self._silence = Silence(report)
        self._say = say
        self._once = once
        self._monotonic_s = monotonic_s
        self._now_us = now_us
        self._horizon = Horizon()
        self._cycle = _read(self._path)
        self._next_look_s = float("-inf") if once else self._when_due_s()
        self._looking: _Look | None = None
        self._next_try_s = float("-inf")
        self._looked = self._held_back = self._busy = False

    def _when_due_s(self) -> float:
        """A restart does not bring the next look nearer than the interval after the last one."""
        interval_s = self._settings.check_interval_s
        since_s = (self._now_us() - self._cycle.looked_us) / MICROSECONDS
        return self._monotonic_s() + interval_s - min(max(since_s, 0.0), interval_s)

    @property
    def searches(self) -> bool:
        """Whether the search goes on between lessons. It does in any case while lessons wait for lines to pass that
        their proposals may not look behind: with several workers an incumbent is seen a window's lines late."""
        return not self._settings.enabled or self._settings.search or self._held_back

    @property
    def standing(self) -> tuple[int, bool]:
        """The number of the last look that got an answer, and whether the store answers, as far as anybody asked."""
        return self._cycle.number, not self._silence.reigns

    @property
    def makes_way(self) -> bool:
        """Whether a lesson that waits for its store leaves its number to the search."""
        return self._settings.search and self._silence.reigns

    def listen(self, trials: Iterable[tuple[int, Path]]) -> None:
        """To what the lessons in flight, by iteration and folder, say of the store."""
        self._silence.listen(trials)

    def finished(self, state: State) -> bool:
        """Whether the one cycle that was asked for is done."""
        return self._once and self._looked and self._looking is None and not self._left(state, ())

    def next(self, state: State, seen: State, in_flight: Iterable[TrialSpec]) -> Lesson | None:
        """The next lesson: `state` is the newest, `seen` what its proposal may know of. Looks when it is time."""
        if not self._settings.enabled:
            return None
        self._take_up()
        taken = [spec.lesson.target for spec in in_flight if spec.lesson is not None]
        left = self._left(state, taken)
        self._held_back = False
        if self._settings.search:
            self._leave_time_for_the_search(busy=bool(left or taken))
        if self._silence.reigns and (left or taken):  # one more would only wait, beside the one that does
            if not taken:
                self._try_again(left[0])
            return None
        for lesson in left:
            if _is_of_the_incumbent(lesson, seen):
                return lesson
        self._held_back = bool(left)
        if not left and not taken and self._is_time():
            self._begin_to_look(state)
        return None

    def reading(self, state: State, in_flight: Iterable[TrialSpec]) -> dict[str, str]:
        """By target: the position from which on lessons read that wait or run."""
        lessons = self._left(state, ()) if self._settings.enabled else []
        lessons += [spec.lesson for spec in in_flight if spec.lesson is not None]
        return {lesson.target: lesson.since for lesson in lessons}

    def _leave_time_for_the_search(self, busy: bool) -> None:
        """The interval counts from the end of a cycle's last lesson: long lessons would leave the search nothing."""
        if self._busy and not busy:
            self._next_look_s = max(self._next_look_s, self._monotonic_s() + self._settings.check_interval_s)
        self._busy = busy

    def _is_time(self) -> bool:
        done = self._once and self._looked
        return not done and self._looking is None and self._monotonic_s() >= self._next_look_s

    def _left(self, state: State, taken: Sequence[str]) -> list[Lesson]:
        """Of the present cycle's lessons those that nobody has had, as far as this start knows their targets."""
        return [
            lesson
            for lesson in self._cycle.lessons
            if state.target(lesson.target).cycle < lesson.cycle
            and lesson.target not in taken
            and lesson.target in self._definitions
            and _is_of_the_incumbent(lesson, state)
        ]

    def _begin_to_look(self, state: State) -> None:
        if not all(state.target(key).iterations for key in self._definitions):
            return  # first of all every target has its default configuration's version
        if not can_learn(state, self._definitions):
            self._looked = True
            return
        number = max(state.cycle, self._cycle.number) + 1
        asked = askings(state, self._definitions, number)
        self._next_look_s = self._monotonic_s() + self._settings.check_interval_s
        now_us = self._now_us()

        def work() -> Cycle:
            store = self._open_store() if asked else None
            if store is None:
                return Cycle(number, now_us)
            try:
                found = look(store, asked, self._settings, number, self._reader, now_us, self._horizon)
                return Cycle(number, now_us, found)
            finally:
                store.close()

        self._looking = _Look(work)

    def _try_again(self, lesson: Lesson) -> None:
        """Ask the store anything, now and then, while lessons wait for it that nobody is at."""
        if self._looking is not None or self._monotonic_s() < self._next_try_s:
            return
        self._next_try_s = self._monotonic_s() + RETRY_S
        cycle = self._cycle

        def work() -> Cycle:
            store = self._open_store()
            if store is None:
                raise StoreDownError("there is no store of experiences")
            with contextlib.closing(store):
                store.newest(Selection(lesson.target))
            return cycle

        self._looking = _Look(work)

    def _take_up(self) -> None:
        """What a look has found, once it is done."""
        if self._looking is None or not self._looking.done:
            return
        found, error = self._looking.found, self._looking.error
        if found is not None and found is not self._cycle:  # the disk may be full: then this is done again
            sealed.write(self._path, as_json(found))
        self._looking = None
        if found is None:
            self._looked = True
            self._next_look_s = self._monotonic_s() + min(RETRY_S, self._settings.check_interval_s)
            self._silence.begins(str(error), "the next look tries again")
            return
        self._silence.ends()
        if found is self._cycle:
            return
        self._looked, self._cycle = True, found
        if found.lessons:
            rows = sum(lesson.rows for lesson in found.lessons)
            names = ", ".join(lesson.target for lesson in found.lessons)
            self._say(f"Cycle {found.number}: {rows:,} new experiences for {names}")


def _is_of_the_incumbent(lesson: Lesson, state: State) -> bool:
    """Another version has learnt something else: it waits for the next look."""
    incumbent = state.target(lesson.target).incumbent
    return incumbent is not None and incumbent.name == lesson.version


class _Look:
    """One look, on a thread of its own."""

    def __init__(self, work: Callable[[], Cycle]) -> None:
        self._work = work
        self.found: Cycle | None = None
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._look, name="experience look", daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def _look(self) -> None:
        try:
            self.found = self._work()
        except Exception as error:  # whatever it is: the search must not end because of it
            self.error = error


def _read(path: Path) -> Cycle:
    """The present cycle; the one before the first where the file is missing or not as it was written."""
    try:
        return parse(Cycle, sealed.read(path))
    except (FileNotFoundError, ValueError):
        return Cycle()
