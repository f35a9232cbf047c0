"""Retention: old days of a store go into files, older ones go for good.

A day's rows are written to a file, the manifest names it, the file is read back, and only then the rows are removed, a
few at a time so that writers hardly wait. Killed anywhere, the next retention finishes what the manifest names.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from supervisor.errors import UsageError
from supervisor.experience.caretaker import DAY_US, BusyError, Caretaker, Span
from supervisor.experience.keeping import cold, rules
from supervisor.experience.keeping.manifest import ColdFile, Event, Manifest
from supervisor.experience.keeping.rules import Ages, Fate, Step
from supervisor.experience.store import ExperienceStore, Selection
from supervisor.experience.transport.importing import CLIENT
from supervisor.journal import durable

FOLDER = "experiences"
BATCH_ROWS = 500
REST = 2.0
"""Between batches the store is left to others for so many times as long as the last one took."""


@dataclass(frozen=True)
class Kept:
    """What a retention did, or would do."""

    cold_rows: int = 0
    gone_rows: int = 0
    forgotten: int = 0  # names of parcels, rows in quarantine
    written_files: int = 0
    dropped_files: int = 0
    notes: tuple[str, ...] = ()

    def said(self, folder: str) -> str:
        """For people."""
        return (
            f"{self.cold_rows} rows moved to {self.written_files} files in {folder}, {self.gone_rows} rows and"
            f" {self.dropped_files} files removed, {self.forgotten} names of parcels and rows in quarantine forgotten"
        )


@dataclass
class Retention:
    """`folder` is where the files go; `rest` waits between batches."""

    store: ExperienceStore
    caretaker: Caretaker
    folder: Path
    ages: Ages
    rest: Callable[[float], None] = time.sleep
    batch_rows: int = BATCH_ROWS

    def plan(self, now_us: int) -> list[Step]:
        """What would be done. Raises StoreDownError."""
        readers, found = self.store.readers(), []
        for target in self.store.stats():
            newest = self.store.newest(Selection(target.target))
            if newest is None:
                continue
            upto = rules.limit(target.target, newest, readers, now_us)
            days = self.caretaker.days(target.target, rules.before_us(now_us, self.ages), upto)
            found += rules.steps(target.target, days, upto, now_us, self.ages)
        return found

    def run(self, now_us: int) -> Kept:
        """Do it. Raises BusyError where another retention is at it, StoreDownError, DamagedStateError, UsageError,
        OSError."""
        durable.make_folder(self.folder)
        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise BusyError(f"{self.folder}: another retention is at work; wait for its end") from error
        try:
            with self.caretaker.alone():
                return self._run(now_us)
        finally:
            lock.release()

    def _run(self, now_us: int) -> Kept:
        manifest, kept = Manifest(self.folder), Kept()
        for file in manifest.unfinished():
            kept = self._finish(manifest, file, kept, now_us)
        waiting = {(file.span.target, file.span.since_us) for file in manifest.unfinished()}
        steps = [step for step in self.plan(now_us) if (step.span.target, step.span.since_us) not in waiting]
        # room first: it needs no pyarrow. Of those that wait a file has the rows, and somebody has still to read them
        gone = sum(self._removed(step.span, now_us) for step in steps if step.fate is Fate.GONE)
        try:
            kept = self._moved(manifest, [step.span for step in steps if step.fate is Fate.COLD], kept, now_us)
        except UsageError:  # pyarrow is missing, which all the rest does without
            self._tidied(manifest, kept, now_us)
            raise
        return self._tidied(manifest, replace(kept, gone_rows=gone), now_us)

    def _moved(self, manifest: Manifest, spans: Iterable[Span], kept: Kept, now_us: int) -> Kept:
        for span in spans:
            written = cold.written(self.folder, manifest, self.caretaker, span)
            if written is not None:
                kept = self._finish(manifest, written, replace(kept, written_files=kept.written_files + 1), now_us)
        return kept

    def _tidied(self, manifest: Manifest, kept: Kept, now_us: int) -> Kept:
        before_us = now_us - self.ages.retention_days * DAY_US
        forgotten = sum(self._slowly(self.caretaker.forget(before_us, self.batch_rows)))
        return replace(kept, forgotten=forgotten, dropped_files=len(list(self._dropped(manifest, now_us))))

    def _finish(self, manifest: Manifest, file: ColdFile, kept: Kept, now_us: int) -> Kept:
        """Take a file's rows out of the store; where a reader has come meanwhile, those that are left another time."""
        if not cold.holds_the_rest(self.folder, file, self.caretaker):
            manifest.note(file, Event.ABANDONED)
            note = f"{file.file} does not hold the store's rows of that day: they stay in the store"
            return replace(kept, notes=(*kept.notes, note))
        rows = self._removed(file.span, now_us)
        kept = replace(kept, cold_rows=kept.cold_rows + rows)
        if any(True for _ in self.caretaker.read(file.span)):
            return kept
        self.caretaker.forget_parcels(CLIENT, file.sha256)  # the file may be brought back, more than once
        manifest.note(file, Event.REMOVED)
        return kept

    def _removed(self, span: Span, now_us: int) -> int:
        return sum(self._slowly(self.caretaker.remove(span, self.batch_rows, rules.reading_since_us(now_us))))

    def _slowly(self, batches: Iterator[int]) -> Iterator[int]:
        begin = time.monotonic()
        for rows in batches:
            yield rows
            self.rest(REST * (time.monotonic() - begin))
            begin = time.monotonic()

    def _dropped(self, manifest: Manifest, now_us: int) -> Iterator[str]:
        for file in manifest.files:
            done = file.event is not Event.WRITTEN
            if done and rules.fate(file.span.since_us, now_us, self.ages) is Fate.GONE:
                durable.remove(self.folder / file.file)
                manifest.note(file, Event.DROPPED)
                yield file.file
