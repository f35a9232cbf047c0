"""The simulation's vectorised test is the real one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from supervisor.contract import Outcome
from supervisor.contract import TestPlan as Plan  # pytest takes a name with Test for a test class
from supervisor.promotion import paired
from tests.benchmarks import paired_many

OUTCOMES = {Outcome.REJECT: 0, Outcome.PROMOTE: 1, Outcome.INCONCLUSIVE: 2, None: 3}
WITH_DRAWS = np.array([1.0, 0.5, 0.0, -0.5, -1.0])
PAIRS = {1.0: (1.0, 0.0), 0.5: (1.0, 0.5), 0.0: (1.0, 1.0), -0.5: (0.5, 1.0), -1.0: (0.0, 1.0)}


def _batch(counts):
    return [PAIRS[value] for value, times in zip(WITH_DRAWS, counts, strict=True) for _ in range(times)]


@pytest.mark.parametrize("chances", [(0.3, 0.05, 0.3, 0.05, 0.3), (0.4, 0.1, 0.2, 0.1, 0.2), (0.02, 0, 0.97, 0, 0.01)])
@pytest.mark.parametrize("threshold", [20.0, 300.0])
def test_the_vectorised_test_equals_the_real_one_step_for_step(chances, threshold):
    plan = Plan(evidence_threshold=threshold, max_pairs=250)
    counts = np.random.default_rng(7).multinomial(10, chances, size=(4, 30))
    trace = paired_many.advance(plan, np.full(4, threshold), paired_many.Contests.start(4), counts, WITH_DRAWS)
    for contest in range(4):
        state = paired.start()
        for step in range(30):
            state = paired.observe(plan, state, _batch(counts[contest, step]))
            decision = paired.verdict(plan, state)
            at = contest, step
            assert (state.n, state.S, state.Q) == (trace.n[at], trace.S[at], trace.Q[at])
            assert trace.log_k[at] == pytest.approx(state.log_k, abs=1e-9)
            assert trace.log_e[at] == pytest.approx(paired.log_evidence(state), abs=1e-9)
            assert trace.outcome[at] == OUTCOMES[decision.outcome if decision else None]


def test_many_contests_end_where_the_real_one_ends_each():
    plan = replace(Plan(), max_pairs=1000)
    rng = np.random.default_rng(3)
    chances = rng.dirichlet((4, 1, 4, 1, 4), size=20)
    counts = np.stack([rng.multinomial(10, chance, size=120) for chance in chances])
    shown = np.zeros(20, np.int64)

    def play(alive, batches):
        chunk = np.stack([counts[row, shown[row] : shown[row] + batches] for row in alive])
        shown[alive] += batches
        return chunk

    verdicts = paired_many.decide_many(plan, np.full(20, 20.0), WITH_DRAWS, play)
    for row in range(20):
        pairs = [pair for step in counts[row] for pair in _batch(step)]
        decision = paired.decide(plan, pairs)
        assert decision is not None
        assert OUTCOMES[decision.outcome] == verdicts.outcome[row]
        assert decision.n_pairs == verdicts.n[row]
        assert decision.effect == pytest.approx(verdicts.S[row] / verdicts.n[row])
    assert set(verdicts.outcome) == {0, 1, 2}
