"""What a line says to people."""

from __future__ import annotations

from dataclasses import replace

from supervisor.console import line_for_people
from supervisor.contract import Outcome, Reason
from tests.support.lines import line


def test_a_trial_begun_before_there_was_an_incumbent_does_not_pass_for_the_first_one() -> None:
    early = line(5, {}, 0.4)
    decision = replace(early.decision, outcome=Outcome.REJECT, reason=Reason.NO_INCUMBENT)
    early = replace(early, reason=Reason.NO_INCUMBENT, decision=decision)
    assert "begun before there was an incumbent" in line_for_people(early)
    assert "first incumbent" not in line_for_people(early)
    made = replace(early, version="v000005", decision=replace(decision, outcome=Outcome.PROMOTE))
    assert "first incumbent -> v000005" in line_for_people(made)
