"""Levels of tests."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.config.settings import PromotionSettings
from supervisor.contract import TestPlan as Plan
from supervisor.promotion import elond


def test_the_shares_of_the_error_add_up_to_one():
    total = math.fsum(elond.gamma(k) for k in range(1, 100_001))
    rest = elond.HORIZON / (100_000 + elond.HORIZON)  # what the telescoping sum leaves after so many terms
    assert total + rest == pytest.approx(1.0, abs=1e-12)


@given(st.integers(0, 10_000), st.integers(0, 100))
def test_a_later_test_is_held_to_a_stricter_level_and_a_promotion_earns_some_back(tests, promotions):
    level = elond.level("fdr", 0.05, tests, promotions)
    assert 0 < elond.level("fdr", 0.05, tests + 1, promotions) < level <= 0.05 * (promotions + 1)
    assert elond.level("fdr", 0.05, tests, promotions + 1) > level


@given(st.integers(0, 10_000), st.integers(0, 100))
def test_per_try_every_test_has_the_same_level(tests, promotions):
    assert elond.level("per_try", 0.05, tests, promotions) == 0.05


def test_the_level_is_capped_where_promotions_abound():
    assert elond.level("fdr", 0.9, 0, 1000) == 0.5


def test_the_plan_takes_its_constants_from_the_settings():
    settings = PromotionSettings(
        error="fdr", alpha=0.1, beta=0.3, min_improvement=0.01, futility_effect=0.05, max_pairs=500, max_seconds=60.0
    )
    plan = elond.plan_for(settings, tests=3, promotions=1)
    assert plan == Plan(
        alpha=0.1,
        beta=0.3,
        min_improvement=0.01,
        futility_effect=0.05,
        evidence_threshold=1 / (0.1 * elond.gamma(4) * 2),
        max_pairs=500,
        max_seconds=60.0,
    )


def test_per_try_the_first_and_the_thousandth_test_ask_for_the_same_evidence():
    settings = PromotionSettings(error="per_try")
    assert elond.plan_for(settings, 0, 0).evidence_threshold == pytest.approx(20.0)
    assert elond.plan_for(settings, 0, 0) == elond.plan_for(settings, 999, 5)
