"""The search state is a fold of lines, and of nothing else."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.contract import Decision, Outcome, Reason, Status, as_json, parse
from supervisor.record import Record
from supervisor.search.fold import SearchState, advance, value_of
from supervisor.search.policy import Proposer
from supervisor.search.schedule import confirmation_due, confirmations, stagnation
from tests.support.lines import floats, folded, line, line_of, mixed_space, request, version

SPACE = mixed_space()
INCUMBENT = version(1, SPACE.defaults())
BY_HAND = Decision("manual", Outcome.PROMOTE, Reason.MANUAL_PROMOTION)


def spsa_lines(count: int, rate: float = 0.5) -> list[Record]:
    proposer, lines = Proposer(), list[Record]()
    for iteration in range(1, count + 1):
        proposal = proposer.propose(request(iteration, SPACE, lines, incumbent=INCUMBENT))
        lines.append(line_of(iteration, proposal, rate + 0.01 * (iteration % 5)))
    return lines


LINES = spsa_lines(30)


def test_the_state_survives_json_exactly() -> None:
    state = folded(LINES)
    assert state.spsa.open is None or state.spsa.open.note.pair == state.spsa.pairs
    assert parse(SearchState, json.loads(json.dumps(as_json(state)))) == state


@given(cut=st.integers(0, len(LINES)))
def test_a_state_restored_from_json_anywhere_goes_on_as_the_undisturbed_one(cut: int) -> None:
    state = parse(SearchState, json.loads(json.dumps(as_json(folded(LINES[:cut])))))
    for record in LINES[cut:]:
        state = advance(state, parse(Record, json.loads(json.dumps(as_json(record)))))
    assert state == folded(LINES)


@pytest.mark.parametrize("purpose", ["baseline", "enqueued", "manual", "confirmation"])
def test_only_search_trials_count_for_spsa(purpose: str) -> None:
    before = folded(LINES[:10])
    after = advance(before, dataclasses.replace(LINES[10], purpose=purpose))
    assert after.spsa == before.spsa
    assert after.iterations == before.iterations + 1


def test_a_promoted_candidate_does_not_move_theta() -> None:
    before = folded(LINES[:10])
    promoted = dataclasses.replace(LINES[10], promoted=True, version="v000011", model_sha256="0" * 64)
    after = advance(before, promoted)
    assert after.spsa == advance(before, LINES[10]).spsa
    assert (before.since_promotion, after.since_promotion) == (10, 0)


@pytest.mark.parametrize(
    "changes",
    [{"decision": BY_HAND, "purpose": "manual", "search": {}}, {"rollbacks": ("v000009",)}],
    ids=["manual promotion", "rollback"],
)
def test_a_change_of_the_incumbent_by_hand_or_rollback_takes_theta_back(changes: dict[str, object]) -> None:
    state = advance(folded(LINES[:10]), dataclasses.replace(LINES[10], **changes))  # type: ignore[arg-type]
    assert (state.spsa.theta, state.spsa.open, state.spsa.epoch) == (None, None, 11)
    assert state.since_promotion == 0
    moved = version(9, {**SPACE.defaults(), "reward.kills": 3.0})
    proposal = Proposer().propose(dataclasses.replace(request(12, SPACE, incumbent=moved), state=state))
    theta = proposal.search["spsa"]["theta"]  # type: ignore[index,call-overload]
    assert theta["reward.kills"] == pytest.approx(5 / 6)  # type: ignore[index,call-overload]


def test_the_best_five_are_those_observed_since_the_last_confirmation_best_first() -> None:
    rates = [0.5, 0.7, None, 0.6, 0.9, 0.7, 0.4]
    lines = [line(i, {"x": float(i)}, rate, search={"objective": "win_rate"}) for i, rate in enumerate(rates, 1)]
    assert [seen.iteration for seen in folded(lines).best] == [5, 2, 6, 4, 1]
    confirmed = line(8, {"x": 0.0}, 0.5, purpose="confirmation", search={"objective": "win_rate", "confirmed_at": 6})
    assert folded([*lines, confirmed]).best == ()
    assert folded([*lines, confirmed]).confirmed_at == 6


def test_rates_of_another_level_or_kind_do_not_compete() -> None:
    lines = [line(1, {"x": 1.0}, 0.9, search={"objective": "win_rate"})]
    harder = line(2, {"x": 2.0}, 0.4, level=1, search={"objective": "win_rate"})
    assert [seen.iteration for seen in folded([*lines, harder]).best] == [2]
    paired = line(3, {"x": 3.0}, 0.4, level=1, search={"objective": "delta"})
    assert [seen.iteration for seen in folded([*lines, harder, paired]).best] == [3]


def test_samplers_are_told_the_rate_or_the_paired_difference_and_zero_for_the_first_incumbent() -> None:
    searched = line(2, {}, 0.6)
    first = line(1, {}, 0.6, delta=None, decision=Decision("none", Outcome.PROMOTE, Reason.BASELINE))
    assert (value_of(searched, "win_rate"), value_of(searched, "delta")) == (0.6, pytest.approx(0.1))
    assert (value_of(first, "win_rate"), value_of(first, "delta")) == (0.6, 0.0)
    failed = dataclasses.replace(searched, status=Status.OUT_OF_BUDGET)
    assert (value_of(failed, "win_rate"), value_of(failed, "delta")) == (None, None)


def test_confirmations_come_at_8_16_24_40_and_every_40th_trial() -> None:
    marks = [trials for trials in range(1, 201) if confirmations(trials) > confirmations(trials - 1)]
    assert marks == [8, 16, 24, 40, 80, 120, 160, 200]
    assert confirmation_due(8, 0)
    assert not confirmation_due(15, 8)
    assert confirmation_due(17, 8)


def test_stagnation_widens_then_goes_through_the_samplers_and_says_so_once() -> None:
    def at(since: int) -> tuple[int, str, float, bool]:
        found = stagnation("a/b", since, "spsa", ("perturb", "tpe"), 100)
        return found.level, found.sampler, found.widen, bool(found.event)

    assert at(99) == (0, "spsa", 1.0, False)
    assert at(100) == (1, "spsa", 1.5, True)
    assert at(101) == (1, "spsa", 1.5, False)
    assert at(200) == (2, "perturb", 2.25, True)
    assert at(300) == (3, "tpe", 2.25, True)
    assert at(400) == (4, "spsa", 2.25, True)
    assert "a/b: 200 iterations" in stagnation("a/b", 200, "spsa", ("perturb",), 100).event


def test_a_line_of_a_float_space_is_small_enough_to_read() -> None:
    proposal = Proposer().propose(request(1, floats(25)))
    assert len(json.dumps(proposal.search)) < 2000
