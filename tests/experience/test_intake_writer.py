"""The thread that writes: what waits together is committed together, and only what is durable is answered for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from supervisor.errors import DamagedStateError
from supervisor.experience.intake.form import Form, Forms
from supervisor.experience.intake.writer import NoRoomError, Writer
from supervisor.experience.sqlite.store import SqliteStore
from supervisor.experience.store import ExperienceStore, Parcel, Refused, Stored, StoreDownError
from tests.support.breakable_store import POISON, World
from tests.support.experiences import OTHER, TARGET, experiences, numbered, numbers, read, write

PATIENCE_S = 30.0


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def writer(world: World) -> Iterator[Writer]:
    writer = world.writer()
    yield writer
    world.open.set()
    writer.close()


def parcel(count: int, first: int = 0, key: str = "") -> Parcel:
    return Parcel([(TARGET, numbered(count, first))], key=key)


def offered(writer: Writer, *parcels: Parcel) -> list[Future[Stored]]:
    writer.opened()
    return [writer.offer(own) for own in parcels]


def told(future: Future[Stored]) -> Stored:
    return future.result(PATIENCE_S)


def stored_numbers(world: World) -> list[int]:
    store = SqliteStore(world.path)
    try:
        return numbers(read(store))
    finally:
        store.close()


def held(world: World, writer: Writer, first: Parcel) -> Future[Stored]:
    """Its commit has begun and does not end."""
    world.open.clear()
    [future] = offered(writer, first)
    assert world.asked.acquire(timeout=PATIENCE_S)
    return future


def test_whoever_never_writes_needs_no_store(world: World) -> None:
    writer = world.writer()
    writer.close()
    assert world.opened == 0
    assert not world.path.exists()


def test_rows_are_durable_when_they_are_answered(world: World, writer: Writer) -> None:
    [future] = offered(writer, Parcel([(TARGET, numbered(3))], [Refused(TARGET, "wrong_width", "", "{}")]))
    assert told(future) == Stored(3, 1)
    assert stored_numbers(world) == [0, 1, 2]
    assert (writer.counts.rows, writer.counts.parcels) == (3, 1)
    assert writer.counts.quarantined == {"wrong_width": 1}


def test_nothing_is_answered_before_it_is_durable(world: World, writer: Writer) -> None:
    future = held(world, writer, parcel(3))
    assert not future.done()
    assert writer.waiting_rows == 3
    world.open.set()
    assert told(future).rows == 3
    assert writer.waiting_rows == 0


def test_what_came_during_a_commit_is_committed_together(world: World, writer: Writer) -> None:
    first = held(world, writer, parcel(1))
    others = offered(writer, *(parcel(1, k) for k in range(1, 6)))
    world.open.set()
    assert [told(future).rows for future in [first, *others]] == [1] * 6
    assert world.commits == [1, 5]
    assert stored_numbers(world) == [0, 1, 2, 3, 4, 5]


def test_a_few_rows_wait_for_company_and_many_do_not(world: World) -> None:
    writer = world.writer(commit_s=3600.0)
    offered(writer, parcel(10))
    [many] = offered(writer, parcel(256, 10))
    assert told(many).rows == 256
    assert world.commits == [2]
    writer.close()


def test_the_wait_for_company_ends(world: World) -> None:
    writer = world.writer(commit_s=0.05)
    began_s = time.monotonic()
    [future] = offered(writer, parcel(1))
    told(future)
    assert time.monotonic() - began_s >= 0.05
    writer.close()


def test_a_parcel_that_comes_again_is_stored_once_even_in_one_commit(world: World, writer: Writer) -> None:
    first = held(world, writer, parcel(1))
    again = offered(writer, parcel(3, 1, key="a"), parcel(3, 1, key="a"))
    world.open.set()
    told(first)
    assert [told(future) for future in again] == [Stored(3, 0), Stored(3, 0, repeated=True)]
    assert stored_numbers(world) == [0, 1, 2, 3]
    assert (writer.counts.parcels, writer.counts.repeated, writer.counts.rows) == (2, 1, 4)


def test_more_rows_than_may_wait_are_refused_and_taken_later(world: World) -> None:
    writer = world.writer(max_waiting_rows=10)
    first = held(world, writer, parcel(6))
    second, *_ = offered(writer, parcel(4, 6))
    with pytest.raises(NoRoomError, match="10 rows wait"):
        writer.offer(parcel(1, 10))
    world.open.set()
    told(first)
    told(second)
    [third] = offered(writer, parcel(1, 10))
    told(third)
    assert stored_numbers(world) == list(range(11))
    writer.close()


def test_refused_rows_take_up_room_too(world: World) -> None:
    writer = world.writer(max_waiting_rows=10)
    future = held(world, writer, Parcel([], [Refused(TARGET, "wrong_width", "", "{}")] * 8))
    with pytest.raises(NoRoomError):
        writer.offer(parcel(3))
    world.open.set()
    told(future)
    writer.close()


def test_where_the_store_goes_down_everybody_is_told_and_it_goes_on_when_it_is_back(
    world: World, writer: Writer
) -> None:
    first = held(world, writer, parcel(1, key="a"))
    second, *_ = offered(writer, parcel(1, 1, key="b"))
    world.down = "connection refused"
    world.open.set()
    for future in (first, second):
        with pytest.raises(StoreDownError):
            told(future)
    assert writer.waiting_rows == 0
    world.wait_for("experiences are refused: connection refused")
    with pytest.raises(StoreDownError, match="connection refused"):
        writer.offer(parcel(1))
    with pytest.raises(StoreDownError, match="connection refused"):
        writer.opened()
    world.down = ""
    world.wait_for("takes rows again")
    for future in offered(writer, parcel(1, key="a"), parcel(1, 1, key="b")):
        assert not told(future).repeated
    assert stored_numbers(world) == [0, 1]
    assert writer.counts.failures >= 1
    assert len(world.told) == 2  # once each, however often it was tried


def test_a_commit_of_which_nobody_heard_is_not_done_again(world: World, writer: Writer) -> None:
    """The connection is cut between the commit and its answer: whoever sent it sends it again."""
    world.lost = "connection reset"
    [future] = offered(writer, parcel(3, key="a"))
    with pytest.raises(StoreDownError):
        told(future)
    world.lost = ""
    world.wait_for("takes rows again")
    [again] = offered(writer, parcel(3, key="a"))
    assert told(again) == Stored(3, 0, repeated=True)
    assert stored_numbers(world) == [0, 1, 2]


def test_a_store_that_does_not_open_is_tried_again(world: World) -> None:
    world.down = "no such host"
    writer = world.writer()
    with pytest.raises(StoreDownError, match="no such host"):
        writer.opened()
    world.down = ""
    world.wait_for("takes rows again")
    [future] = offered(writer, parcel(2))
    assert told(future).rows == 2
    writer.close()


@pytest.mark.parametrize("error", [DamagedStateError("run doctor"), RuntimeError("a fault of ours")])
def test_whatever_the_store_meets_at_its_opening_nobody_waits_for_ever(
    world: World, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> ExperienceStore:
        raise error

    writer = Writer(broken, lambda _: None, 10, 0.0, world.announce)
    with pytest.raises(StoreDownError, match=str(error)):
        writer.opened()
    writer.close()


def test_a_parcel_that_no_store_can_take_does_not_take_the_others_with_it(
    world: World, writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    first = held(world, writer, parcel(1))
    before, poison, after = offered(writer, parcel(1, 1), parcel(1, 2, key=POISON), parcel(1, 3))
    world.open.set()
    assert [told(future).rows for future in (first, before, after)] == [1, 1, 1]
    with pytest.raises(ValueError, match="no store can take this"):
        told(poison)
    assert stored_numbers(world) == [0, 1, 3]
    assert writer.waiting_rows == 0
    assert "could not be stored" in caplog.text


def test_where_the_store_goes_down_among_single_parcels_everybody_is_told(
    world: World, writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    first = held(world, writer, parcel(1))
    world.most_commits = 2
    poison, before, after = offered(writer, parcel(1, 1, key=POISON), parcel(1, 2), parcel(1, 3))
    world.open.set()
    assert [told(future).rows for future in (first, before)] == [1, 1]
    with pytest.raises(ValueError, match="no store can take this"):
        told(poison)
    with pytest.raises(StoreDownError):
        told(after)
    assert stored_numbers(world) == [0, 2]


def test_at_the_end_what_waits_is_committed_at_once_and_nothing_more_is_taken(world: World) -> None:
    writer = world.writer(commit_s=3600.0)
    futures = offered(writer, parcel(1), parcel(1, 1))
    writer.close()
    assert [told(future).rows for future in futures] == [1, 1]
    assert stored_numbers(world) == [0, 1]
    with pytest.raises(StoreDownError, match="about to stop"):
        writer.offer(parcel(1))
    with pytest.raises(StoreDownError, match="about to stop"):
        writer.opened()


def test_an_end_does_not_wait_for_a_store_that_is_down(world: World) -> None:
    world.down = "no such host"
    writer = world.writer()
    with pytest.raises(StoreDownError):
        writer.opened()
    writer.close()


def test_whoever_has_gone_is_not_told_and_the_rows_are_stored_all_the_same(world: World, writer: Writer) -> None:
    first = held(world, writer, parcel(1))
    gone, stays = offered(writer, parcel(1, 1), parcel(1, 2))
    assert gone.cancel()
    world.open.set()
    told(first)
    assert told(stays).rows == 1
    assert stored_numbers(world) == [0, 1, 2]


def test_the_store_says_how_wide_the_states_of_a_target_are(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "experiences.db")
    write(store, experiences(3, width=5))
    write(store, experiences(3, width=6))
    write(store, experiences(3, width=4, controls=2), OTHER)
    forms = Forms([TARGET, OTHER, "ranged/combat_dqn"], lambda _: None)
    forms.look(store)
    assert forms.of(TARGET, 9, 0) == Form(6, controls=0)
    assert forms.of(OTHER, 9, 0) == Form(4, controls=2)
    assert forms.of("ranged/combat_dqn", 9, 3) == Form(9, controls=3)
    store.close()
