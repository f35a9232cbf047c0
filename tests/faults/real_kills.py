"""kill -9 at random moments: of a trial, the fork server, the model server, the supervisor, all of them at once."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path

from supervisor.journal.log import LOG_NAME
from tests.faults.real_stage import KINDS, Stage, alone_on
from tests.faults.real_work import Moment, Work, assert_undisturbed, reference

TWICE = 3  # each so-many-th point kills a second time


def points(work: Work, scratch: Path, each: int, kinds: Sequence[str] = KINDS) -> Sequence[str]:
    """`each` moments per kind, spread evenly over the run but for a random bit, the same in every call."""
    reference(work, scratch)  # here, for all points
    rng = random.Random("random kills")
    found = []
    for kind in kinds:
        for number in range(each):
            fractions = [(number + rng.random()) / each]
            if number % TWICE == 0:
                fractions = sorted([*fractions, rng.random()])
            found.append(f"{kind} at {' and '.join(f'{fraction:.4f}' for fraction in fractions)}")
    return found


def check(work: Work, scratch: Path, point: str, folder: Path) -> int:
    kind, _, fractions = point.partition(" at ")
    known = reference(work, scratch)
    with alone_on(work.stage(folder)) as stage:
        stage.start()
        dealt = sum(strike_at(stage, known.moment(float(fraction)), kind) for fraction in fractions.split(" and "))
        stage.watch()
        stage.leave()
    assert_undisturbed(known, stage)
    return dealt


def strike_at(stage: Stage, moment: Moment, kind: str) -> int:
    """Wait for the moment, and for somebody to strike; 0 where the run ends before."""
    log = stage.run_dir / LOG_NAME

    def lines() -> int:
        return log.read_bytes().count(b"\n") if log.exists() else 0

    if not stage.watch(lambda: lines() >= moment.lines):
        return 0
    due_s = time.monotonic() + moment.later_s
    stage.watch(lambda: time.monotonic() >= due_s or lines() > moment.lines)
    struck = 0

    def strike() -> bool:
        nonlocal struck
        struck = stage.strike(kind)
        return struck > 0

    stage.watch(strike)
    return min(struck, 1)
