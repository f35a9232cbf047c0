"""The simulation: it goes on where it was, it uses the rules of the product, and its promises can break."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor import deciding, planning
from supervisor.config.settings import PromotionSettings, Settings
from supervisor.contract import (
    Budget,
    Decision,
    DuelResult,
    Outcome,
    Reason,
    Status,
    Tally,
    TrialResult,
    TrialSpec,
    Version,
)
from supervisor.promotion import paired
from supervisor.search.policy import Proposal
from supervisor.search.space import Space
from supervisor.search.target import TargetDefinition
from supervisor.state import TargetState
from tests.benchmarks import promotion, promotion_report
from tests.benchmarks.promotion_pipelines import PIPELINES, Pool, chances, tops_up
from tests.benchmarks.promotion_worlds import WORLDS

TINY = promotion.Size(iterations=3, blocks=1, contests=20, seed=0)
ARGUMENTS = ["--iterations", "3", "--blocks", "1", "--contests", "20"]
INCUMBENT = Version("v000001", 1, {}, "1" * 64)


@pytest.fixture(scope="module")
def cells():
    return {key: promotion.simulate(key, TINY) for key in promotion.keys(TINY)}


def test_an_interrupted_simulation_goes_on_where_it_was(tmp_path, capsys, monkeypatch, cells):
    path = tmp_path / "state.json"
    simulate, done = promotion.simulate, []

    def interrupted(key, size):
        if len(done) == 7:
            raise KeyboardInterrupt
        done.append(key)
        return simulate(key, size)

    monkeypatch.setattr(promotion, "simulate", interrupted)
    assert promotion.main([*ARGUMENTS, "--state", str(path)]) == 130
    assert "7 of 58 cells done" in capsys.readouterr().out
    again = []
    monkeypatch.setattr(promotion, "simulate", lambda key, size: again.append(key) or simulate(key, size))
    promotion.main([*ARGUMENTS, "--state", str(path)])
    assert not set(again) & set(done)
    assert json.loads(path.read_bytes())["cells"] == cells


def test_a_state_file_of_another_size_is_refused(tmp_path):
    path = tmp_path / "state.json"
    promotion.StateFile(path, TINY).add("test/0.0/0.05", {"tests": [1.0]})
    other = promotion.Size(iterations=4, blocks=1, contests=20, seed=0)
    with pytest.raises(SystemExit, match="another size or other rules"):
        promotion.StateFile(path, other)


@pytest.mark.parametrize("content", ["", "[]", '{"cells": {}}'])
def test_a_file_that_is_no_state_is_refused(tmp_path, content):
    path = tmp_path / "state.json"
    path.write_text(content)
    with pytest.raises(SystemExit, match="is no state file"):
        promotion.StateFile(path, TINY)


def test_impossible_sizes_are_refused():
    with pytest.raises(SystemExit, match="--blocks 0"):
        promotion.main(["--blocks", "0"])


def test_every_world_and_pipeline_has_its_row(cells):
    found = promotion_report.rows(cells)
    assert {row[1:] for row in found} == {(world, name) for world in WORLDS for name in PIPELINES}
    assert all(len(columns["bias"]) == promotion.BLOCK_RUNS for columns in found.values())


# The promises


def _broken(cells):
    return [text for held, text in promotion_report.promises(cells) if not held]


def _with(cells, key, **columns):
    return {**cells, key: {**cells[key], **columns}}


@pytest.fixture
def kept(cells):
    """Cells that keep every promise."""
    cells = dict(cells)
    runs = promotion.BLOCK_RUNS
    for key in cells:
        if key.startswith("runs"):
            cells = _with(cells, key, no_better=[1000] * runs, false=[10] * runs, tests=[500] * runs, bias=[0.0] * runs)
            cells = _with(cells, key, end=[0.5 if "/fdr/" in key else 0.52] * runs, claimed=[0.7] * runs)
            if "seeds-000" in key:
                cells = _with(cells, key, false=[400] * runs)
    return _with(cells, "test/0.3/0.05", tests=[100], promoted=[96], games=[1900.0])


def test_results_that_keep_every_promise_break_none(kept):
    assert _broken(kept) == []


@pytest.mark.parametrize(
    ("key", "columns", "complaint"),
    [
        ("runs/0.6/equal/per_try/0", {"false": [51] + [0] * 49}, "51 in the worst"),
        ("runs/0.0/equal/per_try/0", {"false": [25] * 50}, "5.00 % of tests"),
        ("test/0.3/0.05", {"promoted": [94]}, "probability 0.940"),
        ("test/0.3/0.05", {"games": [2001.0]}, "2001 games"),
        ("runs/0.3/warm/per_try/0", {"bias": [-0.011] * 50}, "off by -1.10"),
        ("runs/0.3/equal/seeds-004/0", {"claimed": [0.48] * 50}, "claims 48.0 %"),
        ("runs/0.3/equal/seeds-000/0", {"false": [40] * 50}, "promotes 4.0 %"),
    ],
)
def test_a_broken_promise_is_named(kept, key, columns, complaint):
    (text,) = _broken(_with(kept, key, **columns))
    assert complaint in text


def test_fdr_would_be_the_default_if_it_cost_no_more_than_a_point(kept):
    for key in kept:
        if "/fdr/" in key:
            kept = _with(kept, key, end=[0.511] * promotion.BLOCK_RUNS)
    (text,) = _broken(kept)
    assert "the default is fdr, configured per_try" in text


def test_the_command_says_by_its_exit_code_that_a_promise_broke(monkeypatch, kept, capsys):
    monkeypatch.setattr(promotion, "simulate", lambda key, size: kept[key])
    assert promotion.main(ARGUMENTS) == 0
    broken = _with(kept, "test/0.3/0.05", promoted=[0])
    monkeypatch.setattr(promotion, "simulate", lambda key, size: broken[key])
    assert promotion.main(ARGUMENTS) == 1
    assert "BROKEN +5 points" in capsys.readouterr().out


# The simulated games


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.6])
def test_simulated_pairs_have_the_strengths_and_the_correlation_asked_for(correlation):
    odds = chances(np.array([0.52]), np.array([0.47]), correlation)[0]
    assert odds.sum() == pytest.approx(1.0)
    assert odds[0] - odds[2] == pytest.approx(0.05)
    both_won = 0.52 - odds[0]
    counts = np.round(1_000_000 * np.array([odds[0], odds[2], both_won, odds[1] - both_won])).astype(int)
    scores = np.repeat([(1, 0), (0, 1), (1, 1), (0, 0)], counts, axis=0)
    assert np.corrcoef(scores.T)[0, 1] == pytest.approx(correlation, abs=1e-5)


@pytest.mark.parametrize("strengths", [(0.02, 0.98), (0.98, 0.98), (0.65, 0.02)])
def test_chances_stay_chances_where_such_a_correlation_is_impossible(strengths):
    odds = chances(np.array([strengths[0]]), np.array([strengths[1]]), 0.6)
    assert (odds >= -1e-12).all()


# The same rules as the product's

COUNTS = st.integers(0, 50)


@settings(max_examples=50, deadline=None)
@given(COUNTS, st.integers(1, 50), COUNTS, COUNTS, st.booleans(), st.integers(0, 200))
def test_the_pool_is_the_one_that_is_published(wins, losses, topup_wins, topup_losses, promoted, measured_wins):
    target = TargetState(iterations=9, incumbent=INCUMBENT, pool=Tally(wins, 0, losses))
    seeds = dict.fromkeys(("train", "screen", "topup", "duel", "measure", "confirm"), 0)
    spec = TrialSpec(
        "run", 10, "mage/combat_dqn", "arena", "search", "spsa", {}, 1, "small", Budget(1, 1.0, 1), 100, seeds,
        incumbent=INCUMBENT,
    )  # fmt: skip
    topup = Tally(topup_wins, 0, topup_losses)
    result = TrialResult(10, Status.COMPLETE, delta=0.1, topup=topup, model_sha256="2" * 64)
    outcome = (Outcome.PROMOTE, Reason.PROVEN) if promoted else (Outcome.REJECT, Reason.FUTILE)
    measured = Tally(measured_wins, 0, 200 - measured_wins)
    duel = DuelResult(10, Status.COMPLETE, None, Decision(paired.RULE, *outcome), measured_candidate=measured)
    verdict = deciding.decide(spec, result, duel, target, (True, Reason.CONTENDER), {}, manual_mode=False)
    pool = Pool(np.array([wins]), np.array([wins + losses])).topped_up(np.array([topup_wins]), topup.games)
    pool = pool.measured(np.array([promoted]), np.array([measured_wins]), 200)
    assert (pool.wins[0], pool.games[0]) == (verdict.pool.score, verdict.pool.games)


def test_fresh_games_are_played_when_the_supervisor_plays_them():
    definition = TargetDefinition("mage/combat_dqn", "arena", Space(()), "high", 1, 1.0, "screened", False, "small")
    proposal = Proposal(sampler="spsa", purpose="search", params={}, changed=(), games=100)
    for number in range(2, 60):
        target = TargetState(iterations=number - 1, incumbent=INCUMBENT, pool=Tally(25, 0, 25), level=1)
        spec = planning.spec_for("run", number, definition, proposal, target, Settings(), (), {})
        due = tops_up(number, PromotionSettings())
        assert spec.topup_games == (PromotionSettings().topup_games if due else 0)
