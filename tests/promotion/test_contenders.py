"""Who earns the paired test."""

from __future__ import annotations

import inspect

import pytest

from supervisor.contract import Reason
from supervisor.promotion import contenders


@pytest.mark.parametrize(
    ("policy", "purpose", "delta", "expected"),
    [
        ("screened", "search", 0.001, (True, Reason.CONTENDER)),
        ("screened", "search", 0.0009, (False, Reason.BELOW_SCREEN)),
        ("screened", "search", -0.2, (False, Reason.BELOW_SCREEN)),
        ("screened", "confirmation", -0.2, (True, Reason.CONTENDER)),
        ("screened", "enqueued", 0.0, (False, Reason.BELOW_SCREEN)),
        ("confirmed", "search", 0.5, (False, Reason.NOT_CONFIRMED)),
        ("confirmed", "confirmation", -0.2, (True, Reason.CONTENDER)),
        ("confirmed", "enqueued", 0.1, (True, Reason.CONTENDER)),
        ("confirmed", "enqueued", 0.0, (False, Reason.BELOW_SCREEN)),
        ("screened", "search", None, (False, Reason.NO_INCUMBENT)),
        ("confirmed", "confirmation", None, (False, Reason.NO_INCUMBENT)),
    ],
)
def test_a_contender_is_who_beat_the_incumbent_on_the_same_games_or_won_a_confirmation(
    policy, purpose, delta, expected
):
    assert contenders.is_contender(policy, purpose, delta, min_improvement=0.001) == expected


@pytest.mark.parametrize(
    ("configured", "sampler", "yields_model", "expected"),
    [
        (None, "spsa", True, "screened"),
        (None, "spsa", False, "confirmed"),
        (None, "perturb", False, "screened"),
        (None, "tpe", False, "screened"),  # holds no confirmations: waiting for one would be waiting for ever
        ("confirmed", "perturb", True, "confirmed"),
        ("screened", "spsa", False, "screened"),
    ],
)
def test_the_policy_suits_the_kind_of_target_unless_it_is_configured(configured, sampler, yields_model, expected):
    assert contenders.policy_for(configured, sampler, yields_model) == expected


def test_no_stored_rate_can_be_a_threshold_because_none_is_given():
    names = set(inspect.signature(contenders.is_contender).parameters)
    assert names == {"policy", "purpose", "delta", "min_improvement"}
