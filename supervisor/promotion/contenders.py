"""Which candidates earn the paired test.

No stored rate is a threshold here: a number measured earlier is the luckier the longer it stands, so candidate and
incumbent play the screen on the same seeds, and only their difference counts.
"""

from __future__ import annotations

from supervisor.contract import Reason

SCREENED = "screened"
CONFIRMED = "confirmed"


def policy_for(configured: str | None, sampler: str, yields_model: bool) -> str:
    """The policy for a trial of `sampler`: `promotion.contenders`, or what suits where that is not set.

    Where a trial yields a model, it is the model that wins, and each is worth a test. An external target's candidate is
    its configuration, which confirmations pick better than a screen; only spsa holds them, so under any other sampler
    waiting for one would wait for ever.
    """
    if configured is not None:
        return configured
    return CONFIRMED if sampler == "spsa" and not yields_model else SCREENED


def is_contender(policy: str, purpose: str, delta: float | None, min_improvement: float) -> tuple[bool, Reason]:
    """Whether a candidate plays the paired test, and why (not).

    `purpose` is the trial's, `delta` its mean paired score difference on the screen, None where nobody was played.
    The winner of a confirmation always plays. A candidate that a person enqueued was not picked for its luck, so it is
    held to the screen under both policies.
    """
    if delta is None:
        return False, Reason.NO_INCUMBENT
    if purpose == "confirmation":
        return True, Reason.CONTENDER
    if policy == CONFIRMED and purpose != "enqueued":
        return False, Reason.NOT_CONFIRMED
    if delta < min_improvement:
        return False, Reason.BELOW_SCREEN
    return True, Reason.CONTENDER
