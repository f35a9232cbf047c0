"""What every experience store keeps to. A test class inherits it and gives `store`, and `another` to see it twice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from supervisor.experience.opening import caretaker_of
from supervisor.experience.rows import Experiences
from supervisor.experience.store import (
    BEGINNING,
    ExperienceStore,
    Parcel,
    Position,
    Reader,
    Refused,
    Selection,
    Stored,
)
from tests.support.experiences import (
    END,
    NOON_US,
    OTHER,
    TARGET,
    WIDTH,
    experiences,
    numbered,
    numbers,
    read,
    same,
    together,
    write,
)

ODD = np.array([np.nan, np.inf, -0.0, np.finfo(np.float32).smallest_subnormal, 3.4e38, -1.0, 0.1, 1e-30], np.float32)


class StoreConformance:
    @pytest.fixture
    def store(self) -> ExperienceStore:
        raise NotImplementedError

    @pytest.fixture
    def another(self) -> Callable[[], ExperienceStore]:
        """Opens a further view of the same store."""
        raise NotImplementedError

    @pytest.fixture
    def new(self) -> ExperienceStore:
        """Another one."""
        raise NotImplementedError

    def test_what_goes_in_comes_out_bit_for_bit_and_in_order(self, store):
        rows = experiences(1000)
        write(store, rows)
        assert same(together(read(store)), rows)

    def test_it_knows_itself_again_and_no_other_is_taken_for_it(self, store, another, new):
        assert len(store.identity) == 32
        assert another().identity == store.identity
        assert len(new.identity) == 32
        assert new.identity != store.identity

    def test_controls_of_any_number_come_back(self, store):
        rows = experiences(20, controls=4)
        write(store, rows)
        assert same(together(read(store)), rows)

    def test_odd_numbers_are_kept_as_they_are(self, store):
        rows = experiences(len(ODD), width=len(ODD))
        odd = Experiences(**{**vars(rows), "states": np.stack([ODD] * len(ODD)), "next_states": np.diag(ODD)})
        write(store, odd)
        assert same(together(read(store)), odd)

    def test_targets_do_not_see_each_others_rows(self, store):
        store.write([Parcel([(TARGET, numbered(3)), (OTHER, numbered(2, 50))])])
        assert numbers(read(store)) == [0, 1, 2]
        assert numbers(read(store, Selection(OTHER))) == [50, 51]
        assert read(store, Selection("mage/skill_dqn")) == []

    @pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 5000])
    def test_pages_have_exactly_the_size_asked_for_but_for_the_last(self, store, count):
        write(store, numbered(count)) if count else None
        pages = read(store)
        assert [len(page.rows) for page in pages] == [256] * (count // 256) + ([count % 256] if count % 256 else [])
        assert numbers(pages) == list(range(count))

    def test_reading_goes_on_after_any_page_of_any_size(self, store):
        write(store, numbered(700))
        for size in (50, 97, 256, 1000):
            got, after = [], BEGINNING
            while page := next(iter(read(store, after=after, batch_rows=size)), None):
                assert page.last > after
                got += numbers([page])
                after = page.last
            assert got == list(range(700))

    def test_the_end_of_a_range_belongs_to_it_and_its_beginning_does_not(self, store):
        write(store, numbered(10))
        places = [page.last for page in read(store, batch_rows=1)]
        assert numbers(read(store, after=places[2], upto=places[6])) == [3, 4, 5, 6]
        assert store.count(Selection(TARGET), places[2], places[6]) == 4
        assert read(store, after=places[6], upto=places[2]) == []

    def test_rows_are_counted_and_the_count_may_be_cut_short(self, store):
        write(store, numbered(300))
        assert store.count(Selection(TARGET), BEGINNING, END) == 300
        assert store.count(Selection(TARGET), BEGINNING, END, at_most=100) == 100
        assert store.count(Selection(OTHER), BEGINNING, END) == 0

    def test_the_nth_row_is_found_from_either_end(self, store):
        write(store, numbered(10))
        places = [page.last for page in read(store, batch_rows=1)]
        asked = {number: store.nth(Selection(TARGET), places[1], places[7], number) for number in (1, 6, 7, -1, -6, -7)}
        assert asked == {1: places[2], 6: places[7], 7: None, -1: places[7], -6: places[2], -7: None}

    def test_the_newest_row_is_the_last_that_can_be_read(self, store):
        assert store.newest(Selection(TARGET)) is None
        for first in (0, 5):
            write(store, numbered(5, first))
            newest = store.newest(Selection(TARGET))
            assert newest == read(store)[-1].last
            assert numbers(read(store, upto=newest)) == list(range(first + 5))

    def test_rows_below_a_priority_or_before_a_time_or_of_another_width_are_left_out(self, store):
        rows = experiences(100)
        write(store, rows)
        write(store, experiences(5, width=WIDTH + 1))
        wanted = (rows.priorities >= 1.0) & (rows.times >= NOON_US + 40)
        chosen = Selection(TARGET, min_priority=1.0, since_us=NOON_US + 40, width=WIDTH)
        assert same(together(read(store, chosen)), rows.where(wanted))
        assert store.count(chosen, BEGINNING, END) == wanted.sum()

    def test_rows_of_mixed_widths_are_not_read_as_if_they_were_of_one(self, store):
        write(store, experiences(3))
        write(store, experiences(3, width=WIDTH + 1))
        with pytest.raises(ValueError, match="width"):
            read(store)

    def test_a_parcel_that_comes_again_is_stored_once(self, store, another):
        parcel = Parcel([(TARGET, numbered(3))], [Refused("x/y", "nan", "state[0]", "{}")], "game-1", "a")
        assert store.write([parcel]) == [Stored(3, 1)]
        longer = Parcel([(TARGET, numbered(9))], (), "game-1", "a")
        assert another().write([longer]) == [Stored(3, 1, repeated=True)]
        assert numbers(read(store)) == [0, 1, 2]

    def test_a_parcel_that_comes_twice_in_one_go_is_stored_once(self, store):
        parcel = Parcel([(TARGET, numbered(3))], (), "game-1", "a")
        assert store.write([parcel, parcel]) == [Stored(3, 0), Stored(3, 0, repeated=True)]
        assert numbers(read(store)) == [0, 1, 2]

    def test_a_key_is_its_clients_own_and_no_key_protects_nothing(self, store):
        same_key = [Parcel([(TARGET, numbered(1))], (), client, "a") for client in ("one", "two")]
        without = [Parcel([(TARGET, numbered(1))], (), "one", "")] * 2
        assert [stored.repeated for stored in store.write([*same_key, *without])] == [False] * 4
        assert len(numbers(read(store))) == 4

    def test_of_old_and_new_parcels_in_one_go_the_new_ones_are_stored(self, store, another):
        def parcel(key, first, *refused):
            return Parcel([(TARGET, numbered(2, first))], refused, "game-1", key)

        old, odd = parcel("b", 0, Refused("x/y", "nan", "", "{}")), Refused("ü/\t", "broken_json", "\\\n'%s'", '"{}"')
        store.write([old])
        given = [parcel("c", 10), old, parcel("", 20), parcel("a", 30, odd), old]
        repeated = Stored(2, 1, repeated=True)
        assert another().write(given) == [Stored(2, 0), repeated, Stored(2, 0), Stored(2, 1), repeated]
        assert numbers(read(store)) == [0, 1, 10, 11, 20, 21, 30, 31]
        assert caretaker_of(store).overview(NOON_US).quarantine == {"nan": 1, "broken_json": 1}
        assert store.write([old, old]) == [repeated] * 2
        assert len(numbers(read(store))) == 8

    @pytest.mark.parametrize("odd", ["it's", '"', "\\", "%s", "{}", "ü\n\t", "$1;--", " "])
    def test_a_parcel_may_have_any_name(self, store, odd):
        parcels = [Parcel([(TARGET, numbered(1))], (), client, key) for client, key in ((odd, "a"), ("game", odd))]
        assert store.write(parcels) == [Stored(1, 0)] * 2
        assert store.write(parcels) == [Stored(1, 0, repeated=True)] * 2

    def test_nothing_to_write_is_written(self, store):
        nothing = Parcel([(TARGET, numbered(0))], (), "game-1", "a")
        assert store.write([]) == []
        assert store.write([nothing, Parcel([])]) == [Stored(0, 0)] * 2
        assert store.write([nothing]) == [Stored(0, 0, repeated=True)]

    def test_parcels_are_stored_all_or_none(self, store):
        broken = Experiences(**{**vars(experiences(2)), "times": np.zeros(3, np.int64)})
        with pytest.raises(ValueError, match=r"3|argument"):
            store.write([Parcel([(TARGET, numbered(3))], (), "one", "a"), Parcel([(TARGET, broken)])])
        assert read(store) == []
        assert store.write([Parcel([(TARGET, numbered(3))], (), "one", "a")]) == [Stored(3, 0)]

    def test_what_one_view_has_stored_another_sees(self, store, another):
        other = another()
        write(store, numbered(4))
        assert numbers(read(other)) == [0, 1, 2, 3]

    def test_rows_that_come_while_a_range_is_read_are_not_of_it(self, store, another):
        write(store, numbered(300))
        upto = store.newest(Selection(TARGET))
        pages = store.stream(Selection(TARGET), BEGINNING, upto)
        first = next(pages)
        write(another(), numbered(300, 300))
        assert numbers([first, *pages]) == list(range(300))
        assert numbers(read(store, after=upto)) == list(range(300, 600))

    def test_stats_say_what_there_is_of_each_target(self, store):
        assert store.stats() == []
        store.write([Parcel([(TARGET, numbered(5)), (OTHER, numbered(2, 50))])])
        mage, tank = store.stats()
        assert (mage.target, mage.rows, mage.oldest_us, mage.newest_us) == (TARGET, 5, NOON_US, NOON_US + 4)
        assert (tank.target, tank.rows, tank.newest) == (OTHER, 2, store.newest(Selection(OTHER)))

    def test_how_far_a_reader_got_is_kept_by_name_and_target(self, store, another):
        first = Reader("run-1", TARGET, Position(3, 5), NOON_US)
        for reader in (first, Reader("run-1", OTHER, Position(4, 1), NOON_US), Reader("run-2", TARGET, BEGINNING, 7)):
            store.note_reader(reader)
        later = Reader("run-1", TARGET, Position(9, 2), NOON_US + 5)
        store.note_reader(later)
        assert another().readers() == [
            later,
            Reader("run-1", OTHER, Position(4, 1), NOON_US),
            Reader("run-2", TARGET, BEGINNING, 7),
        ]
