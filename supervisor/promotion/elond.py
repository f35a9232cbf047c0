"""What evidence a test must reach: 1/alpha to bound every try, more to bound the share of false promotions.

For the latter e-LOND (Xu and Ramdas 2024, "Online multiple testing with e-values"): test k of a target is held to
alpha_k = alpha * gamma_k * (promotions before it + 1), where the gammas add up to 1, and promotes when its e-value
reaches 1/alpha_k. The expected share of false promotions among a target's promotions then stays below alpha, however
the tests depend on each other.
"""

from __future__ import annotations

from supervisor.config.settings import PromotionSettings
from supervisor.contract import TestPlan

HORIZON = 100  # half of the error is spent on so many tests


def gamma(k: int) -> float:
    """Share of the error that test k = 1, 2, ... may spend: a / ((k + a - 1)(k + a)), whose sum telescopes to 1."""
    return HORIZON / ((k + HORIZON - 1) * (k + HORIZON))


def level(error: str, alpha: float, tests: int, promotions: int) -> float:
    """Level of the next test of a target that has spent `tests` tests, `promotions` of which promoted.

    `error` is `promotion.error`: per_try or fdr. At most 1/2, so that a test always asks for some evidence.
    """
    if error == "per_try":
        return alpha
    return min(0.5, alpha * gamma(tests + 1) * (promotions + 1))


def plan_for(settings: PromotionSettings, tests: int, promotions: int) -> TestPlan:
    """The constants of a target's next test."""
    return TestPlan(
        alpha=settings.alpha,
        beta=settings.beta,
        min_improvement=settings.min_improvement,
        futility_effect=settings.futility_effect,
        evidence_threshold=1 / level(settings.error, settings.alpha, tests, promotions),
        max_pairs=settings.max_pairs,
        max_seconds=settings.max_seconds,
    )
