"""What every caretaker keeps to, and retention over it: a test class gives `store`, and `another` to see it twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from supervisor.errors import TryAgainError, UsageError
from supervisor.experience.caretaker import DAY_US, HOUR_US, BusyError, Day, Span
from supervisor.experience.keeping import cold
from supervisor.experience.keeping.retention import Kept, Retention
from supervisor.experience.keeping.rules import Ages
from supervisor.experience.opening import caretaker_of
from supervisor.experience.rows import Experiences
from supervisor.experience.store import BEGINNING, Parcel, Position, Reader, Refused, Selection, StoreDownError
from supervisor.experience.transport.importing import checked, imported
from supervisor.experience.transport.source import chunks
from supervisor.journal import durable
from tests.support.experiences import END, OTHER, TARGET, WIDTH, experiences, numbers, read, same, together, write

NOW_US = 20_500 * DAY_US + 5 * HOUR_US
AGES = Ages(retention_days=30, cold_days=7)


def played(count: int, days_ago: float, first: int = 0, width: int = WIDTH, controls: int = 0) -> Experiences:
    """A millisecond each, `days_ago` days before the day that NOW_US is in."""
    rows = experiences(count, seed=first, width=width, controls=controls, first=first)
    begin = NOW_US - NOW_US % DAY_US - int(days_ago * DAY_US)
    return Experiences(**{**vars(rows), "times": begin + 1000 * np.arange(count)})


def retention(store, folder: Path, **given: object) -> Retention:
    return Retention(store, caretaker_of(store), folder, **{"ages": AGES, "rest": lambda _: None, **given})


def in_files(folder: Path) -> list[int]:
    """The numbers of all rows of all files that the manifest names."""
    found = []
    for path in sorted(folder.rglob("*.parquet")):
        if not path.name.startswith("."):
            file, mistakes = checked(path, None, 0, quarantine=False)
            assert not mistakes
            found += [int(number) for chunk in chunks(file.source.blocks(0)) for number in chunk.rewards]
    return found


class StoppedError(Exception):
    """Stands for a kill: nothing after it is done."""


class CaretakerConformance:
    @pytest.fixture
    def store(self):
        raise NotImplementedError

    @pytest.fixture
    def another(self):
        """Opens a further view of the same store."""
        raise NotImplementedError

    @pytest.fixture
    def caretaker(self, store):
        return caretaker_of(store)

    @pytest.fixture
    def folder(self, tmp_path):
        return tmp_path / "experiences"

    def test_it_tells_how_much_there_is(self, store, caretaker):
        recent = Experiences(**{**vars(played(4, 0)), "times": NOW_US - HOUR_US + np.arange(4) - 1})
        refused = [Refused("x/y", "not_finite", "", "{}")] * 2
        store.write([Parcel([(TARGET, played(5, 3)), (TARGET, recent), (OTHER, played(2, 1, width=3))], refused)])
        told = caretaker.overview(NOW_US)
        assert told.rows_last_hour == {TARGET: 3}
        assert told.quarantine == {"not_finite": 2}
        assert told.target_bytes[TARGET] > 9 * 2 * 4 * WIDTH
        assert told.bytes > 0

    def test_days_are_whole_ones_and_counted_as_far_as_asked(self, store, caretaker):
        for days_ago, first in ((9, 0), (8.5, 10), (7, 20), (0, 30)):
            write(store, played(10, days_ago, first))
        write(store, played(3, 9), OTHER)
        begins = [NOW_US - NOW_US % DAY_US - days * DAY_US for days in (9, 7)]
        assert caretaker.days(TARGET, NOW_US, END) == [Day(begins[0], 20), Day(begins[1], 10)]
        assert caretaker.days(TARGET, NOW_US - 7 * DAY_US, END) == [Day(begins[0], 20)]
        places = [page.last for page in read(store, batch_rows=1)]
        assert caretaker.days(TARGET, NOW_US, places[11]) == [Day(begins[0], 12)]

    def test_a_span_is_read_in_order_whatever_the_widths_in_it(self, store, caretaker):
        parts = [played(5000, 9), played(7, 9, 5000, width=3), played(9, 9, 6000, controls=2)]
        for part in parts:
            write(store, part)
        blocks = list(caretaker.read(self.day(9)))
        assert {(block.width, block.controls.shape[1]) for block in blocks} == {(WIDTH, 0), (3, 0), (WIDTH, 2)}
        assert [same(one, other) for one, other in zip(list(chunks(blocks))[1:], parts[1:], strict=False)]
        assert [int(n) for block in blocks for n in block.rewards] == [
            *range(5000),
            *range(5000, 5007),
            *range(6000, 6009),
        ]

    def test_a_span_is_removed_in_order_and_nothing_else(self, store, caretaker):
        write(store, played(25, 9))
        write(store, played(5, 8, 100))
        write(store, played(5, 9, 200), OTHER)
        places = [page.last for page in read(store, batch_rows=1)]
        removal = caretaker.remove(self.day(9, upto=places[22]), 10, 0)
        assert next(removal) == 10
        assert numbers(read(store))[:3] == [10, 11, 12]
        assert list(removal) == [10, 3]
        assert numbers(read(store)) == [23, 24, *range(100, 105)]
        assert len(numbers(read(store, Selection(OTHER)))) == 5

    def test_a_clients_names_are_forgotten_by_how_they_begin(self, store, caretaker):
        def again(client, key):
            return store.write([Parcel([(TARGET, played(1, 0))], (), client, key)])[0].repeated

        names = [("import", "ab%:1"), ("import", "ab%:2"), ("import", "abc:1"), ("game", "ab%:1")]
        assert [again(*name) for name in names] == [False] * 4
        caretaker.forget_parcels("import", "ab%")
        assert [again(*name) for name in names] == [False, False, True, True]

    def test_old_names_of_parcels_and_rows_in_quarantine_are_forgotten(self, store, caretaker):
        parcels = [Parcel([], [Refused("x/y", "not_finite", "", "{}")], "game", str(number)) for number in range(25)]
        store.write(parcels)
        assert sum(caretaker.forget(0, 10)) == 0
        assert all(stored.repeated for stored in store.write(parcels))
        forgotten = list(caretaker.forget(2**62 // 1000, 10))
        assert sum(forgotten) == 50
        assert max(forgotten) == 10
        assert not any(stored.repeated for stored in store.write(parcels))

    def day(self, days_ago: int, upto: Position = END, target: str = TARGET) -> Span:
        begin = NOW_US - NOW_US % DAY_US - days_ago * DAY_US
        return Span(target, begin, begin + DAY_US, upto)

    # retention

    def test_old_days_move_to_files_and_come_back_bit_for_bit(self, store, folder):
        parts = {days_ago: played(600, days_ago, 1000 * days_ago) for days_ago in (10, 9, 7, 6, 0)}
        for part in parts.values():
            write(store, part)
        done = retention(store, folder).run(NOW_US)
        assert (done.cold_rows, done.written_files, done.gone_rows, done.notes) == (1200, 2, 0, ())
        assert numbers(read(store)) == [int(n) for days in (7, 6, 0) for n in parts[days].rewards]
        for days_ago, path in zip((10, 9), sorted((folder / TARGET).glob("*.parquet")), strict=True):
            file, _ = checked(path, None, 0, quarantine=False)
            assert same(next(chunks(file.source.blocks(0))), parts[days_ago])

    def test_a_file_can_be_brought_back_again_and_again_and_stays_one_file(self, store, folder):
        rows = played(50, 10)
        write(store, rows)
        for _ in range(3):
            assert retention(store, folder).run(NOW_US).cold_rows == 50
            [path] = (folder / TARGET).glob("*.parquet")
            file, _ = checked(path, None, 0, quarantine=False)
            assert imported(store, file, NOW_US).repeated == 0
            assert same(together(read(store)), rows)

    def test_rows_of_several_widths_move_too(self, store, folder):
        write(store, played(20, 9))
        write(store, played(20, 9, 20, width=3))
        assert retention(store, folder).run(NOW_US).cold_rows == 40
        assert sorted(in_files(folder)) == list(range(40))

    def test_what_the_slowest_reader_has_not_read_stays(self, store, folder):
        write(store, played(30, 9))
        places = [page.last for page in read(store, batch_rows=1)]
        for name, place, seen in (("slow", places[9], 29), ("fast", places[20], 0), ("gone", BEGINNING, 31)):
            store.note_reader(Reader(name, TARGET, place, NOW_US - seen * DAY_US))
        store.note_reader(Reader("other", OTHER, BEGINNING, NOW_US))
        assert retention(store, folder).run(NOW_US).cold_rows == 10
        assert numbers(read(store)) == list(range(10, 30))
        store.note_reader(Reader("slow", TARGET, places[29], NOW_US))
        assert retention(store, folder).run(NOW_US).cold_rows == 11
        assert (numbers(read(store)), in_files(folder)) == ([*range(21, 30)], [*range(10, 21), *range(10)])

    def test_what_is_older_than_the_retention_is_gone_with_its_files(self, store, folder):
        write(store, played(10, 40))
        write(store, played(10, 20, 10))
        done = retention(store, folder).run(NOW_US)
        assert (done.gone_rows, done.cold_rows, done.dropped_files) == (10, 10, 0)
        assert in_files(folder) == list(range(10, 20))
        assert retention(store, folder).run(NOW_US + 9 * DAY_US).dropped_files == 0
        assert retention(store, folder).run(NOW_US + 11 * DAY_US).dropped_files == 1
        assert in_files(folder) == []

    def test_without_pyarrow_whatever_needs_none_is_done(self, store, folder, monkeypatch):
        def missing(*given):
            raise UsageError("pyarrow is missing")

        write(store, played(10, 40))
        write(store, played(10, 20, 10))
        retention(store, folder).run(NOW_US)
        write(store, played(10, 50, 20))
        write(store, played(10, 10, 30))
        monkeypatch.setattr(cold, "open_writer", missing)
        with pytest.raises(UsageError, match="pyarrow"):
            retention(store, folder).run(NOW_US + 11 * DAY_US)
        assert numbers(read(store)) == [*range(30, 40)]
        assert in_files(folder) == []

    def test_stopped_anywhere_nothing_is_lost_and_nothing_is_there_twice(self, store, folder, monkeypatch):
        wanted = Counter(range(40))
        for stop in range(1, 1000):
            write(store, played(20, 9))
            write(store, played(20, 10, 20))
            place, stopped = folder / str(stop), self.run_and_stop(store, folder / str(stop), stop, monkeypatch)
            there, filed = Counter(numbers(read(store))), Counter(self.named_in_manifest(place))
            assert there | filed == wanted, f"lost at step {stop}"
            assert max(filed.values(), default=0) <= 1, f"twice in files at step {stop}"
            retention(store, place).run(NOW_US)
            assert (read(store), Counter(in_files(place))) == ([], wanted), f"not finished after step {stop}"
            assert retention(store, place).run(NOW_US) == Kept()
            if not stopped:
                break
        assert stop > 20

    def run_and_stop(self, store, folder: Path, stop: int, monkeypatch) -> bool:
        """Whether it came to the step: a durable operation or a batch of rows that were removed."""
        left = [stop]

        def step(*_: object) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise StoppedError

        monkeypatch.setattr(durable, "failpoint", step)
        try:
            retention(store, folder, rest=step, batch_rows=7).run(NOW_US)
        except StoppedError:
            return True
        finally:
            monkeypatch.setattr(durable, "failpoint", None)
        return False

    def named_in_manifest(self, folder: Path) -> list[int]:
        from supervisor.experience.keeping.manifest import Manifest

        if not folder.exists():
            return []
        found = []
        for file in Manifest(folder).files:
            source, _ = checked(folder / file.file, None, 0, quarantine=False)
            found += [int(number) for chunk in chunks(source.source.blocks(0)) for number in chunk.rewards]
        return found

    def test_rows_stay_where_the_file_does_not_hold_them(self, store, folder, monkeypatch):
        write(store, played(20, 9))
        publish = durable.publish

        def damaged(path: Path, written: Path) -> None:
            data = bytearray(written.read_bytes())
            data[len(data) // 2] ^= 1
            written.write_bytes(data)
            publish(path, written)

        monkeypatch.setattr(durable, "publish", damaged)
        done = retention(store, folder).run(NOW_US)
        assert done.cold_rows == 0
        assert "stay in the store" in done.notes[0]
        assert numbers(read(store)) == list(range(20))
        monkeypatch.setattr(durable, "publish", publish)
        assert retention(store, folder).run(NOW_US).cold_rows == 20

    def test_the_rows_of_another_store_are_not_taken_for_those_of_the_file(self, store, folder, monkeypatch):
        write(store, played(20, 9))
        write(store, played(20, 9, 20))
        with pytest.raises(StoppedError):
            retention(store, folder, rest=self.stop, batch_rows=30).run(NOW_US)
        monkeypatch.setattr(durable, "failpoint", None)
        places = [page.last for page in read(store, batch_rows=1)]
        assert len(places) == 10
        list(caretaker_of(store).remove(self.day(9), 100, 0))
        self.put_at(store, places[:10], played(10, 9, 500))
        done = retention(store, folder, ages=Ages(60, 50)).run(NOW_US)
        assert "stay in the store" in done.notes[0]
        assert numbers(read(store)) == list(range(500, 510))

    def stop(self, _: float) -> None:
        raise StoppedError

    def put_at(self, store, places, rows) -> None:
        """Rows at positions of others, as a new database would give them."""
        raise NotImplementedError

    def test_two_retentions_do_not_work_at_once(self, store, another, folder):
        write(store, played(20, 9))
        other = another()

        def rest(_: float) -> None:
            with pytest.raises(TryAgainError, match="another retention"):
                retention(other, folder).run(NOW_US)

        assert retention(store, folder, rest=rest).run(NOW_US).cold_rows == 20

    def test_two_retentions_of_one_store_do_not_work_at_once_whatever_their_folders(self, store, another, folder):
        write(store, played(20, 9))
        other = another()

        def rest(_: float) -> None:
            with pytest.raises(BusyError, match="another retention"):
                retention(other, folder / "other").run(NOW_US)

        assert retention(store, folder, rest=rest).run(NOW_US).cold_rows == 20
        assert retention(other, folder / "other").run(NOW_US) == Kept()

    @pytest.mark.parametrize(("days_ago", "filed", "stay"), [(9, list(range(30)), [10, 10]), (40, [], [10, 12])])
    def test_rows_that_somebody_begins_to_read_while_they_are_removed_stay_until_they_are_read(
        self, store, another, folder, days_ago, filed, stay
    ):
        write(store, played(30, days_ago))
        places, reading = [page.last for page in read(store, batch_rows=1)], another()

        def rest(_: float) -> None:
            if not reading.readers():
                reading.note_reader(Reader("run", TARGET, places[11], NOW_US))

        retention(store, folder, rest=rest, batch_rows=5).run(NOW_US)
        for first in stay:
            assert numbers(read(store)) == list(range(first, 30))
            assert in_files(folder) == filed
            retention(store, folder, batch_rows=20).run(NOW_US)
        reading.note_reader(Reader("run", TARGET, places[29], NOW_US))
        retention(store, folder).run(NOW_US)
        assert (read(store), in_files(folder)) == ([], filed)

    def test_nobody_notes_a_place_between_the_last_look_at_the_readers_and_the_removal(
        self, store, another, monkeypatch
    ):
        write(store, played(10, 9))
        caretaker, other, refused = caretaker_of(store), another(), []
        self.be_impatient(other)
        look = caretaker._is_read

        def then_note(*asked):
            found = look(*asked)
            with pytest.raises(StoreDownError):
                other.note_reader(Reader("run", TARGET, BEGINNING, NOW_US))
            refused.append(True)
            return found

        monkeypatch.setattr(caretaker, "_is_read", then_note)
        assert list(caretaker.remove(self.day(9), 10, 0)) == [10]
        assert refused == [True]

    def be_impatient(self, store) -> None:
        """It does not wait for others for longer than a moment."""
        raise NotImplementedError

    def test_a_plan_changes_nothing(self, store, folder):
        write(store, played(20, 9))
        write(store, played(5, 40, 20))
        [gone, cold] = retention(store, folder).plan(NOW_US)
        assert (gone.fate, gone.rows, cold.fate, cold.rows) == ("gone", 5, "cold", 20)
        assert not folder.exists()
        assert len(numbers(read(store))) == 25
