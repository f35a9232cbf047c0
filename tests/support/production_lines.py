"""Log lines that change what is in production, a minute apart, as a report reads them."""

from __future__ import annotations

from datetime import UTC, datetime

from supervisor.contract import Decision, Outcome, Reason
from supervisor.lesson import Lesson
from supervisor.record import Record
from tests.support.records import make_promotion, make_record

START_S = 1_800_000_000.0
TARGET = "aggressive/combat_dqn"


def at(iteration: int, **time: object) -> dict[str, object]:
    """The clock's times of a line, a minute after the line before."""
    return {"finished_at": datetime.fromtimestamp(START_S + 60 * iteration, UTC).isoformat(), **time}


def tried(iteration: int, **changes: object) -> Record:
    return make_record(iteration, **{"time": at(iteration), "against": "v000001", **changes})


def promoted(iteration: int, **changes: object) -> Record:
    return make_promotion(iteration, **{"time": at(iteration), **changes})


def first(iteration: int = 1, **changes: object) -> Record:
    decision = Decision("none", Outcome.PROMOTE, Reason.BASELINE)
    return promoted(iteration, reason=Reason.BASELINE, decision=decision, improvement=0.0, **changes)


def gone_back(iteration: int, to: str | None, of: str, **changes: object) -> Record:
    decision = Decision("none", Outcome.REJECT, Reason.DEGRADED)
    given = {"version": to, "rollbacks": (of,), "reason": Reason.DEGRADED, "decision": decision, **changes}
    return tried(iteration, **given)


def by_hand(iteration: int, version: str) -> Record:
    decision = Decision("manual", Outcome.PROMOTE, Reason.MANUAL_PROMOTION)
    return promoted(iteration, version=version, reason=Reason.MANUAL_PROMOTION, decision=decision, improvement=0.0)


def lesson(after: str, upto: str, rows: int) -> Lesson:
    return Lesson(TARGET, 1, "0:0", after, upto, rows, 0, 64, "v000001", 0)
