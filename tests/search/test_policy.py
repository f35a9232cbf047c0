"""Proposals are functions of the request alone, with every sampler, at every window, across any restart."""

from __future__ import annotations

import dataclasses
import math

import pytest
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import TrialState

from supervisor.config.settings import Settings
from supervisor.contract import Params
from supervisor.errors import ConfigurationError
from supervisor.record import Record
from supervisor.search import spsa
from supervisor.search.fold import spsa_note
from supervisor.search.observation import Observation
from supervisor.search.policy import Proposal, Proposer
from supervisor.search.samplers.distributions import distributions
from supervisor.search.space import Parameter, Space
from supervisor.search.study import as_trial
from tests.support.lines import (
    TARGET,
    flight_of,
    floats,
    folded,
    line,
    line_of,
    mixed_space,
    observed,
    request,
    settings,
    version,
)

SAMPLERS = ["spsa", "perturb", "random", "tpe", "cmaes", "qmc", "nsga2"]
SPACE = mixed_space()
INCUMBENT = version(1, SPACE.defaults())


def rate(params: Params, iteration: int) -> float | None:
    """A noisy game with a failure now and then."""
    if iteration % 11 == 7:
        return None
    height = float(params["reward.kills"]) / 10 - abs(math.log10(float(params["lr"])) + 3) / 20
    return round(min(max(0.4 + height + 0.05 * math.sin(37 * iteration), 0), 1), 2)


def run(
    config: Settings, iterations: int, window: int = 1, restart_every: int = 0
) -> tuple[list[Proposal], list[Record]]:
    """A run of one target. A restart makes a new Proposer after proposing something else with it first."""
    proposals, lines, proposer = list[Proposal](), list[Record](), Proposer()
    for iteration in range(1, iterations + 1):
        if restart_every and iteration % restart_every == 0:
            proposer = Proposer()
            other = settings(config.search.sampler, seed=config.run.seed + 1)
            proposer.propose(request(iteration, SPACE, lines[:3], config=other))
        seen = lines[: max(0, iteration - window)]
        flights = [flight_of(i + 1, proposals[i]) for i in range(len(seen), iteration - 1)]
        proposals.append(proposer.propose(request(iteration, SPACE, seen, flights, INCUMBENT, config=config)))
        lines.append(line_of(iteration, proposals[-1], rate(proposals[-1].params, iteration)))
    proposer.close()
    return proposals, lines


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("window", [1, 4])
def test_a_run_restarted_again_and_again_proposes_what_an_undisturbed_one_does(sampler: str, window: int) -> None:
    config = settings(sampler)
    undisturbed, _ = run(config, 30, window)
    assert run(config, 30, window, restart_every=3)[0] == undisturbed
    assert run(settings(sampler, seed=8), 5, window)[0] != undisturbed[:5]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_study_that_grew_with_the_lines_proposes_what_one_built_from_all_of_them_does(sampler: str) -> None:
    config = settings(sampler)
    grown, lines = Proposer(), run(config, 66)[1]
    for iteration in (*range(1, 67, 6), 66, 67):
        asked = request(iteration, SPACE, lines[: iteration - 1], incumbent=INCUMBENT, config=config)
        assert grown.propose(asked) == Proposer().propose(asked), iteration


@pytest.mark.parametrize(("sampler", "generation"), [("cmaes", 6), ("nsga2", 1)])
def test_generations_go_on_from_what_the_lines_hold(sampler: str, generation: int) -> None:
    found = [proposal.search["generation"] for proposal in run(settings(sampler), 60)[0]]
    assert found == sorted(found)  # type: ignore[type-var]
    assert found[-1] == generation


@pytest.mark.slow
def test_gp_proposes_the_same_from_a_grown_and_a_rebuilt_study_and_after_its_process_was_killed() -> None:
    config, grown, rebuilt = settings("gp"), Proposer(), Proposer()
    lines = run(config, 14)[1]
    try:
        for iteration in (3, 12, 15):
            asked = request(iteration, SPACE, lines[: iteration - 1], incumbent=INCUMBENT, config=config)
            first = grown.propose(asked)
            process = grown._studies._gp._process
            assert process is not None
            process.kill()
            assert grown.propose(asked) == first == rebuilt.propose(asked)
            assert not SPACE.problems(first.params)
    finally:
        grown.close()
        rebuilt.close()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_proposal_fits_its_space_and_says_what_changed(sampler: str) -> None:
    for proposal in run(settings(sampler), 40)[0]:
        for params in (proposal.params, *proposal.candidates):
            assert SPACE.problems(params) == []
        differing = {name for name, value in INCUMBENT.params.items() if proposal.params[name] != value}
        assert set(proposal.changed) == differing


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_history_cut_by_the_user_is_taken_as_it_is(sampler: str) -> None:
    """`tail -n 20 log`, seen at once or only when as many lines as before are there again: the state stays."""
    config, lines = settings(sampler), run(settings(sampler), 40)[1]
    for known in (40, 20):
        grown = Proposer()
        grown.propose(request(known + 1, SPACE, lines[:known], incumbent=INCUMBENT, config=config))
        cut = dataclasses.replace(
            request(41, SPACE, lines, incumbent=INCUMBENT, config=config), history=observed(lines[-20:])
        )
        assert grown.propose(cut) == Proposer().propose(cut)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_changed_space_keeps_the_lines_that_still_fit_and_drops_the_others(sampler: str) -> None:
    config, lines = settings(sampler), run(settings(sampler), 30)[1]
    kept = [item for item in SPACE.parameters if item.name not in ("reward.kills", "steps")]
    narrower = Parameter("reward.kills", "float", 1.0, low=0.5, high=2.0)
    changed = Space((*kept, narrower, Parameter("new", "float", 0.2, low=0.0, high=1.0)))
    asked = request(31, changed, lines, incumbent=INCUMBENT, config=config)
    grown = Proposer()
    grown.propose(request(31, SPACE, lines, incumbent=INCUMBENT, config=config))
    proposal = grown.propose(asked)
    assert changed.problems(proposal.params) == []
    assert proposal == Proposer().propose(asked)


def test_a_line_is_a_trial_at_todays_defaults_and_none_where_its_values_left_the_space() -> None:
    kinds = distributions(SPACE)
    older = {name: value for name, value in SPACE.defaults().items() if name != "lr"}
    trial = as_trial(Observation.of(line(1, older, 0.6)), SPACE, kinds, "win_rate")
    assert trial is not None
    assert (trial.value, trial.params) == (0.6, dict(SPACE.defaults()))
    assert as_trial(Observation.of(line(1, {**older, "layers": 9}, 0.6)), SPACE, kinds, "win_rate") is None
    assert as_trial(Observation.of(line(1, {**older, "optimizer": "lamb"}, 0.6)), SPACE, kinds, "win_rate") is None
    failed = as_trial(Observation.of(line(1, older, None)), SPACE, kinds, "win_rate")
    assert failed is not None
    assert (failed.state, failed.value) == (TrialState.FAIL, None)


def test_fixed_parameters_are_in_every_proposal_and_never_searched() -> None:
    proposer, lines = Proposer(), list[Record]()
    for iteration in range(1, 20):
        proposal = proposer.propose(request(iteration, SPACE, lines, incumbent=INCUMBENT, fixed={"team": "red"}))
        assert all(params["team"] == "red" for params in (proposal.params, *proposal.candidates))
        lines.append(line_of(iteration, proposal, 0.5))


def test_both_sides_of_a_pair_share_seeds_start_and_categorical_values() -> None:
    proposals, _ = run(settings("spsa"), 40)
    first: dict[int, Proposal] = {}
    seen = 0
    for proposal in proposals:
        note = spsa_note(proposal.search)
        if note is None:
            continue
        if note.side == spsa.PLUS:
            first[note.pair] = proposal
            continue
        plus = first[note.pair]
        assert (proposal.seed_iteration, proposal.start_version) == (plus.seed_iteration, "v000001")
        assert proposal.params["optimizer"] == plus.params["optimizer"]
        assert proposal.params["dueling"] == plus.params["dueling"]
        seen += 1
    assert seen > 10
    assert {plus.params["optimizer"] for plus in first.values()} == {"adam", "sgd", "lion"}


def test_the_second_side_starts_where_the_first_did_though_the_first_was_promoted() -> None:
    space = floats(3)
    old, new = version(1, space.defaults()), version(2, {"x00": 0.9, "x01": 0.9, "x02": 0.9})
    plus = Proposer().propose(request(2, space, incumbent=old))
    promoted = line_of(2, plus, 0.9, promoted=True, version=new.name, model_sha256=new.model_sha256)
    minus = Proposer().propose(request(3, space, [promoted], incumbent=new))
    assert minus.start_version == plus.start_version == old.name
    note = spsa_note(minus.search)
    assert note is not None
    assert note.side == spsa.MINUS


@pytest.mark.parametrize("window", [1, 2, 8])
def test_confirmations_meet_theta_its_average_and_the_best_five_between_pairs(window: int) -> None:
    space, proposals, lines = floats(6), list[Proposal](), list[Record]()
    for iteration in range(1, 121):
        seen = lines[: max(0, iteration - window)]
        flights = [flight_of(i + 1, proposals[i]) for i in range(len(seen), iteration - 1)]
        proposals.append(Proposer().propose(request(iteration, space, seen, flights)))
        lines.append(line_of(iteration, proposals[-1], 0.5 + 0.01 * (iteration * 7 % 13)))
    state, held, open_pair = folded(lines), [], False
    for proposal in proposals:
        if proposal.purpose == "confirmation":
            assert not open_pair
            assert 2 <= len(proposal.candidates) <= 7
            assert proposal.params == proposal.candidates[0]
            assert all(a != b for i, a in enumerate(proposal.candidates) for b in proposal.candidates[:i])
            held.append(proposal)
            continue
        note = spsa_note(proposal.search)
        assert note is not None
        open_pair = note.side == spsa.PLUS
    assert len(held) == 5  # at 8, 16, 24, 40, 80 of 115 trials
    assert state.spsa.trials == 120 - len(held)
    if window == 1:
        assert [proposal.search["confirmed_at"] for proposal in held] == [8, 16, 24, 40, 80]
        assert [len(proposal.candidates) for proposal in held] == [7] * 5
        observed = {tuple(proposals[i].params.items()) for i in range(8)}
        assert {tuple(params.items()) for params in held[0].candidates[2:]} <= observed


def test_games_are_the_samplers_own_figure_unless_the_settings_say_otherwise() -> None:
    assert Proposer().propose(request(1, SPACE)).games == 100
    assert Proposer().propose(request(1, SPACE, config=settings("perturb"))).games == 30
    told = settings("spsa").model_copy(update={"run": settings().run.model_copy(update={"games": 12})})
    assert Proposer().propose(request(1, SPACE, config=told)).games == 12


def test_after_stagnation_the_next_sampler_takes_over_and_spsa_goes_on_where_it_was_after_a_promotion() -> None:
    config = settings("spsa", stagnation_iterations=10, on_stagnation=("perturb",))
    proposals, lines = run(config, 25)
    acting = [proposal.sampler for proposal in proposals]
    assert acting[:20] == ["spsa"] * 20
    assert acting[20:] == ["perturb"] * 5
    wide = spsa_note(proposals[12].search)
    assert wide is not None
    assert wide.c == pytest.approx(1.5 * spsa.gains(wide.pair)[0])
    promoted = dataclasses.replace(lines[-1], promoted=True, version="v000025", model_sha256="0" * 64)
    again = Proposer().propose(request(26, SPACE, [*lines[:-1], promoted], incumbent=INCUMBENT, config=config))
    note = spsa_note(again.search)
    assert again.sampler == "spsa"
    assert note is not None
    assert note.theta == folded(lines).spsa.theta or note.side == spsa.MINUS


def test_perturb_changes_three_to_five_parameters_by_at_most_the_magnitude() -> None:
    space, incumbent = floats(20), version(1, floats(20).defaults())
    counts = set()
    for iteration in range(1, 60):
        asked = request(iteration, space, incumbent=incumbent, config=settings("perturb"))
        proposal = Proposer().propose(asked)
        counts.add(len(proposal.changed))
        assert all(abs(float(proposal.params[name]) - 0.5) <= 0.075 for name in space.names)
    assert counts == {3, 4, 5}


def test_qmc_takes_its_index_from_the_iterations_of_the_target_not_from_the_lines_left() -> None:
    config, space = settings("qmc"), floats(2)
    lines = [line(i, space.defaults(), 0.5, sampler="qmc") for i in range(1, 21)]
    whole = request(21, space, lines, config=config)
    cut = dataclasses.replace(whole, history=observed(lines[-3:]))
    assert Proposer().propose(cut) == Proposer().propose(whole)
    points = []
    for iteration in range(1, 17):
        proposal = Proposer().propose(request(iteration, space, lines[: iteration - 1], config=config))
        points.append(tuple(int(4 * float(proposal.params[name])) for name in space.names))
    assert len(set(points)) == 16, "16 points of the sequence fill 4 x 4 cells"


class Corner(RandomSampler):
    """A user's sampler: what it has seen decides."""

    def sample_independent(self, study, trial, param_name, param_distribution):  # type: ignore[no-untyped-def]
        return param_distribution.high if len(study.get_trials(deepcopy=False)) % 2 else param_distribution.low


class Seedless(RandomSampler):
    def __init__(self) -> None:
        super().__init__()


def test_a_users_own_sampler_is_made_by_its_name_and_sees_the_history() -> None:
    assert issubclass(Corner, BaseSampler)
    config, space = settings(f"{__name__}:Corner"), floats(2)
    lines = [line(i, space.defaults(), 0.5) for i in range(1, 3)]
    even = Proposer().propose(request(2, space, lines[:1], config=config))
    odd = Proposer().propose(request(3, space, lines, config=config))
    assert (even.params, odd.params) == ({"x00": 0.0, "x01": 0.0}, {"x00": 1.0, "x01": 1.0})


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("no_such_module:Class", "No module named"),
        (f"{__name__}:Nothing", "has no attribute"),
        (f"{__name__}:Seedless", "seed"),
        ("builtins:list", "seed"),
    ],
)
def test_a_sampler_that_cannot_be_made_is_named_with_the_reason(name: str, part: str) -> None:
    with pytest.raises(ConfigurationError, match=part) as caught:
        Proposer().propose(request(1, floats(2), config=settings(name)))
    assert name in str(caught.value)


def test_baseline_enqueued_and_manual_lines_are_history_for_model_based_samplers() -> None:
    """Ten lines end TPE's random start, whoever made them."""
    config = settings("tpe")
    purposes = ("baseline", "enqueued", "manual")
    lines = [line(i, SPACE.defaults(), 0.5, purpose=purposes[i % 3], sampler=purposes[i % 3]) for i in range(1, 13)]
    told = Proposer().propose(request(13, SPACE, lines, config=config))
    untold = Proposer().propose(dataclasses.replace(request(13, SPACE, lines, config=config), history=()))
    assert told.params != untold.params


def test_another_target_of_the_same_run_gets_other_proposals() -> None:
    asked = request(5, SPACE)
    other = dataclasses.replace(asked, target="tank/combat_dqn")
    assert asked.target == TARGET
    assert Proposer().propose(asked).params != Proposer().propose(other).params
