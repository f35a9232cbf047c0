"""The mathematics of SPSA: pairs, steps, and what happens to theta when the world changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.search import spsa
from supervisor.search.space import Parameter, Space
from tests.support.lines import floats, mixed_space

SPACE = floats(4)
DIGEST = SPACE.digest()
CENTRE = dict.fromkeys(SPACE.names, 0.5)


def draw(iteration: int) -> spsa.Draw:
    return spsa.Draw(iteration, "v000001", seed=100 + iteration)


def played(position: spsa.Position, note: spsa.Note, rate: float | None, level: int = 0) -> spsa.Position:
    return spsa.advance(position, note, rate, level, {})


def test_the_gains_are_those_of_the_design() -> None:
    assert spsa.gains(1) == (0.08, 0.035)
    c, a = spsa.gains(100)
    assert c == pytest.approx(0.08 / 100**0.101)
    assert a == pytest.approx(0.035 * (51 / 150) ** 0.602)


def test_a_pair_is_theta_plus_and_minus_c_times_flip_and_moves_theta_towards_the_better_side() -> None:
    plus = spsa.plan(spsa.Position(), [], SPACE, CENTRE, draw(1))
    position = played(spsa.Position(), plus, 0.60)
    minus = spsa.plan(position, [], SPACE, CENTRE, draw(2))
    assert (plus.side, minus.side, minus.pair, minus.seeds, minus.start) == ("+", "-", 1, 1, "v000001")
    for name, flip in zip(SPACE.names, plus.flips, strict=True):
        sign = 1 if flip == "+" else -1
        assert spsa.side(plus)[name] == pytest.approx(0.5 + sign * 0.08)
        assert spsa.side(minus)[name] == pytest.approx(0.5 - sign * 0.08)
    position = played(position, minus, 0.52)
    assert position.theta is not None
    for name, flip in zip(SPACE.names, plus.flips, strict=True):
        sign = 1 if flip == "+" else -1
        assert position.theta[name] == pytest.approx(0.5 + 0.035 * (0.60 - 0.52) / (2 * 0.08) * sign)
    assert (position.trials, position.pairs, position.steps) == (2, 1, 1)


def test_the_average_is_the_mean_of_the_places_theta_has_been_at() -> None:
    position, places = spsa.Position(), list[float]()
    for iteration in range(1, 7):
        note = spsa.plan(position, [], SPACE, CENTRE, draw(iteration))
        position = played(position, note, 0.5 + 0.1 * (note.side == "+"))
        if note.side == "-":
            assert position.theta is not None
            places.append(position.theta["x00"])
    assert position.average is not None
    assert position.average["x00"] == pytest.approx(sum(places) / 3)


@pytest.mark.parametrize("rates", [(None, 0.5), (0.5, None), (None, None)])
def test_a_pair_with_a_side_that_is_not_complete_gives_no_step(rates: tuple[float | None, float | None]) -> None:
    plus = spsa.plan(spsa.Position(), [], SPACE, CENTRE, draw(1))
    minus = replace(plus, side="-", trial=1)
    position = played(played(spsa.Position(), plus, rates[0]), minus, rates[1])
    assert (position.theta, position.trials, position.steps, position.open) == (CENTRE, 2, 0, None)


def test_after_a_first_side_that_failed_the_next_trial_begins_a_new_pair() -> None:
    plus = spsa.plan(spsa.Position(), [], SPACE, CENTRE, draw(1))
    following = spsa.plan(played(spsa.Position(), plus, None), [], SPACE, CENTRE, draw(2))
    assert (following.side, following.pair, following.seeds) == ("+", 2, 2)


def test_sides_played_at_different_levels_are_not_compared() -> None:
    plus = spsa.plan(spsa.Position(), [], SPACE, CENTRE, draw(1))
    position = played(spsa.Position(), plus, 0.9, level=1)
    position = played(position, spsa.plan(position, [], SPACE, CENTRE, draw(2)), 0.1, level=2)
    assert (position.theta, position.steps) == (CENTRE, 0)


def test_with_trials_in_flight_every_pair_still_gets_both_sides_and_its_own_number() -> None:
    """W = 5: five proposals are made before the first line is seen."""
    position, notes = spsa.Position(), list[spsa.Note]()
    for iteration in range(1, 41):
        notes.append(spsa.plan(position, notes[-4:], SPACE, CENTRE, draw(iteration)))
        if iteration >= 5:
            position = played(position, notes[iteration - 5], 0.5 + 0.01 * (iteration % 3))
    assert [note.side for note in notes] == ["+", "-"] * 20
    assert [note.pair for note in notes] == [1 + index // 2 for index in range(40)]
    assert [note.trial for note in notes] == list(range(40))
    assert position.steps == 18


def test_a_change_by_hand_sets_theta_to_the_incumbent_and_disowns_what_is_in_flight() -> None:
    plus = spsa.plan(spsa.Position(), [], SPACE, CENTRE, draw(1))
    position = spsa.reset(played(spsa.Position(), plus, 0.7), iteration=2)
    incumbent = dict.fromkeys(SPACE.names, 0.9)
    fresh = spsa.plan(position, [replace(plus, side="-")], SPACE, incumbent, draw(3))
    assert (fresh.theta, fresh.side, fresh.pair, fresh.epoch) == (incumbent, "+", 2, 2)
    position = played(position, replace(plus, side="-", trial=1), 0.1)
    assert position.theta is None
    assert position.trials == 2
    position = played(position, fresh, 0.5)
    assert position.theta == incumbent


def test_a_first_side_that_was_in_flight_over_a_change_by_hand_waits_for_no_second() -> None:
    plus = spsa.plan(spsa.Position(), [], SPACE, CENTRE, draw(1))
    position = played(spsa.reset(spsa.Position(), iteration=1), plus, 0.9)
    assert position.open is None
    fresh = spsa.plan(position, [], SPACE, CENTRE, draw(3))
    assert (fresh.side, fresh.epoch) == ("+", 1)


def test_a_changed_space_opens_an_epoch_at_the_incumbent_that_all_in_flight_share() -> None:
    plus = spsa.plan(spsa.Position(), [], SPACE, CENTRE, draw(1))
    position = played(spsa.Position(), plus, 0.7)
    wider = floats(5)
    incumbent = dict.fromkeys(wider.names, 0.3)
    first = spsa.plan(position, [], wider, incumbent, draw(2))
    assert (first.epoch, first.after, first.side, first.theta) == (2, 0, "+", incumbent)
    second = spsa.plan(position, [first], wider, dict.fromkeys(wider.names, 0.8), draw(3))
    assert (second.epoch, second.after, second.side, second.theta) == (2, None, "-", incumbent)
    position = played(played(position, first, 0.6), second, 0.5)
    assert position.space == wider.digest()
    assert position.theta is not None
    assert set(position.theta) == set(wider.names)
    assert position.steps == 1


def test_a_change_by_hand_beats_a_changed_space_that_was_in_flight() -> None:
    plus = spsa.plan(spsa.Position(), [], SPACE, CENTRE, draw(1))
    position = played(spsa.Position(), plus, 0.7)
    wider = floats(5)
    in_flight = spsa.plan(position, [], wider, dict.fromkeys(wider.names, 0.3), draw(3))
    position = played(spsa.reset(position, iteration=2), in_flight, 0.6)
    assert position.theta is None
    after = spsa.plan(position, [], wider, dict.fromkeys(wider.names, 0.9), draw(4))
    assert after.theta == dict.fromkeys(wider.names, 0.9)


def test_sides_of_two_spaces_in_flight_never_mix() -> None:
    """The space changed at a restart while first trials were in flight."""
    plus = spsa.plan(spsa.Position(), [], SPACE, CENTRE, draw(1))
    wider = floats(5)
    other = spsa.plan(spsa.Position(), [plus], wider, dict.fromkeys(wider.names, 0.3), draw(2))
    position = played(played(spsa.Position(), plus, 0.7), other, 0.6)
    assert (other.epoch, position.epoch) == (2, 2)
    assert position.theta == dict.fromkeys(wider.names, 0.3)


def test_the_first_line_that_a_shortened_log_still_holds_is_believed() -> None:
    position, notes = spsa.Position(), list[spsa.Note]()
    for iteration in range(1, 31):
        notes.append(spsa.plan(position, [], SPACE, CENTRE, draw(iteration)))
        position = played(position, notes[-1], 0.5 + 0.02 * (iteration % 4))
    late = spsa.Position()
    for iteration in range(21, 31):
        late = played(late, notes[iteration - 1], 0.5 + 0.02 * (iteration % 4))
    assert (late.theta, late.trials, late.pairs) == (position.theta, position.trials, position.pairs)


def test_the_sides_of_a_coarse_parameter_round_to_different_values() -> None:
    space = mixed_space()
    numeric = spsa.numeric(space)
    theta = spsa.to_unit(space, space.defaults())
    plus = spsa.plan(spsa.Position(), [], numeric, theta, draw(1))
    minus = replace(plus, side="-")
    ours, theirs = (spsa.from_unit(numeric, spsa.side(note)) for note in (plus, minus))
    assert all(ours[name] != theirs[name] for name in numeric.names)
    assert "layers" in plus.wide
    assert "lr" not in plus.wide


@given(theta=st.floats(0, 1), layers=st.integers(1, 12), log=st.booleans(), iteration=st.integers(1, 50))
def test_wherever_theta_is_the_sides_of_an_integer_differ(theta: float, layers: int, log: bool, iteration: int) -> None:
    space = Space((Parameter("n", "int", 1, low=1, high=1 + layers, log=log),))
    note = spsa.plan(spsa.Position(), [], space, {"n": round(theta, 10)}, draw(iteration))
    ours, theirs = (spsa.from_unit(space, spsa.side(replace(note, side=side)))["n"] for side in "+-")
    assert ours != theirs


@given(
    start=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    rates=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30),
)
def test_theta_never_leaves_the_unit_cube(start: list[float], rates: list[tuple[float, float]]) -> None:
    position = spsa.Position()
    anchor = dict(zip(SPACE.names, start, strict=True))
    for iteration, rate in enumerate([rate for pair in rates for rate in pair], start=1):
        note = spsa.plan(position, [], SPACE, anchor, draw(iteration))
        assert all(0 <= place <= 1 for place in spsa.side(note).values())
        position = played(position, note, rate)
    assert position.theta is not None
    assert position.average is not None
    assert all(0 <= place <= 1 for place in (*position.theta.values(), *position.average.values()))
    assert position.steps == len(rates)


def test_theta_climbs_a_hill() -> None:
    """Noise free, f = -(distance to .8): after 300 pairs theta is near the top."""
    position = spsa.Position()
    for iteration in range(1, 601):
        note = spsa.plan(position, [], SPACE, CENTRE, draw(iteration))
        height = 1 - sum((place - 0.8) ** 2 for place in spsa.side(note).values())
        position = played(position, note, height)
    assert position.theta is not None
    assert all(abs(place - 0.8) < 0.02 for place in position.theta.values())
