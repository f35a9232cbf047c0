"""What the continuous cycle promises whatever becomes of its store, and whichever database that is: it waits and goes
on, nothing is lost, nothing is learnt or written twice. A test class inherits it and gives worlds and their faults."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from supervisor import loop
from supervisor.experience.intake.writer import Writer
from supervisor.experience.opening import URL_VARIABLE
from supervisor.experience.rows import joined
from supervisor.experience.sqlite.store import SqliteStore
from supervisor.experience.store import ExperienceStore, Selection, StoreDownError
from supervisor.parts import Turn
from supervisor.registry import bookkeeper
from supervisor.registry.bookkeeper import Bookkeeper
from tests.support import lesson_runs, pupil
from tests.support.experiences import read, same, together
from tests.support.lesson_runs import ITERATIONS, ROWS, books, events, in_time, lines, met, of_the_store, parcels
from tests.support.processes import wait_for
from tests.support.small_run import SmallRun
from tests.support.store_worlds import Fault, World
from trainers import played, worker

TOLD_ONCE = ["store_silent", "store_answers"]
ANSWER_S = 15.0


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits longer than the fault takes."""
    monkeypatch.setattr(loop, "IDLE_WAIT_S", 0.01)
    monkeypatch.setattr(loop, "FIRST_DISK_PAUSE_S", 0.05)
    monkeypatch.setattr(played, "LOOK_S", 0.05)
    monkeypatch.setattr(bookkeeper, "BACKOFF_S", (0.05,))
    monkeypatch.setattr(bookkeeper, "MOST_WAITING", 2)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """Lines of a run that learnt from the same rows; which database they were in makes no difference."""
    run_dir = tmp_path_factory.mktemp("undisturbed")
    store = SqliteStore(run_dir / "experiences.db")
    store.write(parcels())
    store.close()
    run = lesson_runs.pupils_run(run_dir, lambda: SqliteStore(run_dir / "experiences.db"))
    run.run(ITERATIONS, measured=in_time())
    return lines(run, SqliteStore(run_dir / "experiences.db"))


class Outage:
    """Of a fault: `begins` once, however often it is told to."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._is_told = self.has_begun = False

    def begins(self) -> None:
        if not self._is_told:
            self._is_told = True
            self._fault.begin()
            self.has_begun = True

    def ends(self) -> None:
        self._fault.end()


@contextmanager
def ended_once(what: str, noticed: Callable[[], bool], outage: Outage) -> Iterator[None]:
    """The outage ends as soon as it was noticed, which it must be."""
    failures: list[AssertionError] = []

    def wait() -> None:
        try:
            wait_for(what, lambda: outage.has_begun and noticed(), ANSWER_S)
        except AssertionError as failure:
            failures.append(failure)
        finally:
            outage.ends()

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert not failures, failures


def worker_that_begins(outage: Outage, while_it_reads: bool, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """The main of a trial which meets the fault in the first lesson: after two pages, or as it starts."""
    pages = 0

    def read_a_page(_: pupil.PupilTarget) -> None:
        nonlocal pages
        pages += 1
        if pages == 2:
            outage.begins()

    def main(folder: str) -> int:
        if not while_it_reads and is_lesson(folder):
            outage.begins()
        return worker.main(folder)

    if while_it_reads:
        monkeypatch.setattr(pupil.PupilTarget, "read_a_page", read_a_page)
    return main


def is_lesson(folder: str) -> bool:
    return json.loads((Path(folder) / "trial.json").read_bytes())["lesson"] is not None


class Faulty:
    """The module gives `world`, which is filled, `empty`, and `name` of one of their faults."""

    @pytest.fixture
    def fault(self, world: World, name: str) -> Fault:
        return world.faults[name]

    @pytest.fixture
    def run(self, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallRun:
        """One that learns from the world."""
        monkeypatch.setenv(URL_VARIABLE, world.url)
        return lesson_runs.pupils_run(tmp_path / "run", world.open)


class StoreFaults(Faulty):
    """Faults of any kind."""

    def test_a_look_that_meets_it_is_told_once_and_repeated_to_the_same_lessons(self, run, world, fault, undisturbed):
        outage = Outage(fault)

        def opened() -> ExperienceStore:
            if not fault.writing:  # it strikes who comes then, not who has come in
                outage.begins()
            store = world.open()
            outage.begins()
            return store

        run.played = opened
        with ended_once("the look was told", lambda: "store_silent" in events(run), outage):
            run.run(ITERATIONS, measured=in_time())
        assert lines(run, world.open()) == undisturbed
        assert of_the_store(run) == TOLD_ONCE

    def test_a_lesson_in_its_midst_waits_and_reads_on_after_the_last_page(
        self, run, world, fault, undisturbed, monkeypatch
    ):
        monkeypatch.setattr(pupil, "PATIENCE_S", ANSWER_S)
        strikes = fault.reading or fault.opening

        def noticed() -> bool:
            return met(run) or "store_silent" in events(run) if strikes else len(run.log) > len(ROWS)

        outage = Outage(fault)
        main = worker_that_begins(outage, fault.reading, monkeypatch)
        with ended_once("the lesson met it", noticed, outage):
            run.run(ITERATIONS, worker_main=main, measured=in_time())
        assert lines(run, world.open()) == undisturbed
        assert of_the_store(run) == (TOLD_ONCE if strikes else [])

    def test_the_books_wait_and_nobody_else_does(self, world, fault, tmp_path):
        keeps_books(world, fault, tmp_path)

    def test_rows_that_are_handed_over_meanwhile_are_stored_once_and_learnt_from_once(
        self, empty, name, undisturbed, tmp_path, monkeypatch
    ):
        fault = empty.faults[name]
        hand_over(empty, fault)
        assert_stored_once(empty)
        monkeypatch.setenv(URL_VARIABLE, empty.url)
        run = lesson_runs.pupils_run(tmp_path / "run", empty.open)
        run.run(ITERATIONS, measured=in_time())
        assert lines(run, empty.open()) == undisturbed
        assert of_the_store(run) == []


class LastingFaults(Faulty):
    """Faults that keep everybody out while they last."""

    def test_a_lesson_that_waits_for_too_long_leaves_and_is_taken_up_where_it_was(
        self, run, world, fault, undisturbed, monkeypatch
    ):
        monkeypatch.setattr(pupil, "PATIENCE_S", 0.1)
        codes: list[int] = []
        outage = Outage(fault)
        inner = worker_that_begins(outage, fault.reading, monkeypatch)

        def main(folder: str) -> int:
            codes.append(inner(folder))
            return codes[-1]

        with ended_once("two processes left", lambda: codes.count(worker.EXIT_STORE_SILENT) == 2, outage):
            run.run(ITERATIONS, worker_main=main, measured=in_time())
        assert lines(run, world.open()) == undisturbed
        assert [line.time["attempts"] for line in run.log] == [1] * ITERATIONS
        assert of_the_store(run) == TOLD_ONCE

    def test_a_supervisor_killed_while_its_lesson_waits_comes_to_the_same_lines(
        self, run, world, fault, undisturbed, monkeypatch
    ):
        monkeypatch.setattr(pupil, "PATIENCE_S", ANSWER_S)
        outage = Outage(fault)
        main = worker_that_begins(outage, fault.reading, monkeypatch)
        with monkeypatch.context() as once:
            once.setattr(played.Played, "_pause", killed)
            with pytest.raises(Killed):
                run.run(ITERATIONS, worker_main=main, measured=in_time())
        assert met(run)
        with ended_once("the next start told of it", lambda: "store_silent" in events(run), outage):
            run.run(ITERATIONS, worker_main=main, measured=in_time())
        assert lines(run, world.open()) == undisturbed
        assert of_the_store(run) == TOLD_ONCE


class Killed(BaseException):
    """As if by kill -9."""


def killed(*_: object) -> None:
    raise Killed


def keeps_books(world: World, fault: Fault, scratch: Path) -> None:
    """A run goes on through the fault, and then its books are as if there had been none."""
    run = lesson_runs.pupils_run(scratch / "run", None)
    run.books = world.open
    outage, stands_still = Outage(fault), threading.Event()

    def told(event: str) -> bool:
        return event in events(run)

    def measured(turn: Turn) -> None:
        if turn.state.iteration >= 3:
            outage.begins()
        if turn.state.iteration >= 8:  # no further line reminds anybody of those that wait
            stands_still.set()
            wait_for("the books wait", partial(told, "books_wait"), ANSWER_S)
            wait_for("the books are written", partial(told, "books_written"), ANSWER_S)

    if not (fault.writing and fault.sudden):
        outage.begins()
    with ended_once("the books wait", lambda: stands_still.is_set() and told("books_wait"), outage):
        run.run(10, measured=measured)
    assert of_the_store(run) == ["books_wait", "books_written"]
    assert books(world.open()) == books_of_the_log(run, scratch)


def books_of_the_log(run: SmallRun, scratch: Path) -> object:
    """As they are written into a new file at once."""
    path = scratch / "books.db"
    failures: list[tuple[str, str]] = []
    Bookkeeper(run.run_dir, "run", "folder", lambda: SqliteStore(path), lambda *told: failures.append(told)).close()
    assert not failures
    return books(SqliteStore(path))


def hand_over(world: World, fault: Fault) -> int:
    """What is played, parcel by parcel as a client does: again until it is stored. How many were stored before their
    answer was lost."""
    outage, ended, repeated = Outage(fault), False, 0
    writer = Writer(world.open, lambda _: None, 100_000, 0.0, lambda _: None)
    if not fault.writing:
        outage.begins()
    for number, parcel in enumerate(parcels()):
        if number == 2:
            outage.begins()
        while True:
            try:
                writer.opened()
                repeated += writer.offer(parcel).result(ANSWER_S).repeated
                break
            except StoreDownError:
                if not ended:
                    ended = True
                    outage.ends()
                wait_for("rows are taken again", lambda: writer.down is None, ANSWER_S)
    writer.close()
    assert ended, "nobody met it"
    return repeated


def assert_stored_once(world: World) -> None:
    """Bit for bit, in the order in which it was played."""
    store = world.open()
    for target in ROWS:
        expected = joined([rows for parcel in parcels() for key, rows in parcel.experiences if key == target])
        assert same(together(read(store, Selection(target))), expected)
    store.close()
