"""What was played, for a trial that learns from it: a stream out of the experience store that outlives its outages."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from supervisor.contract import Json, Reason
from supervisor.errors import IncumbentError, TrialError
from supervisor.experience.opening import URL_VARIABLE, open_if_there
from supervisor.experience.outages import Outages
from supervisor.experience.store import BATCH_ROWS, ExperienceStore, Page, Position, Selection, StoreDownError
from supervisor.lesson import Lesson
from trainers.algorithms.from_play.plan import Plan
from trainers.target import Control

PATIENCE_S = 60.0
"""Without an answer for so long the trial leaves, and is started again later."""

LOOK_S = 0.2
LONGEST_PAUSE_S = 5.0


class StoreSilent(Exception):  # noqa: N818 - no error of the trial's: it is continued once the store answers
    """The store gave no answer for PATIENCE_S."""


def plan_of(lesson: Lesson, rules: Mapping[str, Json]) -> Plan:
    """What the trial's rules say of the training, in the section `continuous`."""
    told = rules["continuous"]
    assert isinstance(told, dict)
    return Plan(
        since=Position.parse(lesson.since),
        old_rows=lesson.old_rows,
        new_rows=lesson.rows,
        gradient_steps=int(str(told["max_steps_per_iteration"])),
        batch_size=int(str(told["batch_size"])),
        gradient_accumulation_steps=int(str(told["gradient_accumulation_steps"])),
        memory_rows=int(str(told["memory_rows"])),
        holdout_share=float(str(told["holdout"])),
        holdout_rows=int(str(told["validation_samples"])),
        validation_frequency=int(str(told["validation_frequency"])),
    )


class Played:
    """A lesson's experiences. The address comes from the environment, where secrets may stand."""

    def __init__(
        self, lesson: Lesson, run_dir: Path, folder: Path, control: Control, patience_s: float = PATIENCE_S
    ) -> None:
        """`folder` is the trial's own: outages stand there."""
        self._selection = Selection(lesson.target, lesson.min_priority, lesson.since_us, lesson.width)
        self._upto = Position.parse(lesson.upto)
        self._store = lesson.store
        self._run_dir = run_dir
        self._outages = Outages(folder)
        self._control = control
        self._patience_s = patience_s

    def pages(self, after: Position) -> Iterator[Page]:
        """Those after a position, in order. Raises StoreSilent, and StopRequested while it waits for the store."""
        silent_since_s: float | None = None
        pause_s = LOOK_S
        while True:
            try:
                for page in self._stream(after):
                    after, silent_since_s, pause_s = page.last, None, LOOK_S
                    self._outages.answers()
                    yield page
            except StoreDownError as error:
                self._outages.silent(str(error))
                now_s = time.monotonic()
                silent_since_s = silent_since_s or now_s
                if now_s - silent_since_s + pause_s > self._patience_s:
                    raise StoreSilent(str(error)) from error
            else:
                self._outages.answers()
                return
            self._pause(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _stream(self, after: Position) -> Iterator[Page]:
        """Raises StoreDownError, of a damaged or empty database too: somebody may be putting it right; TrialError where
        another store has taken the place of the lesson's."""
        try:
            store = self._opened()
            try:
                self._see_that_it_is_the_lessons(store)
                yield from store.stream(self._selection, after, self._upto, BATCH_ROWS)
            finally:
                store.close()
        except IncumbentError as error:
            raise StoreDownError(str(error)) from error

    def _see_that_it_is_the_lessons(self, store: ExperienceStore) -> None:
        """In another store the same positions are of other rows."""
        if self._store and store.identity not in ("", self._store):
            raise TrialError(Reason.EXPERIENCES_GONE, "another store is in the place of the one this lesson is of")

    def _opened(self) -> ExperienceStore:
        store = open_if_there(os.environ.get(URL_VARIABLE) or None, self._run_dir)
        if store is None:
            raise StoreDownError(f"{self._run_dir} has no store of experiences, and {URL_VARIABLE} names none")
        return store

    def _pause(self, pause_s: float) -> None:
        until_s = time.monotonic() + pause_s
        while (left_s := until_s - time.monotonic()) > 0:
            self._control.check()
            self._control.beat(0)
            time.sleep(min(LOOK_S, left_s))
