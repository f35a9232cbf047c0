"""SIGKILL to whichever process passes a durable operation, once per distinct place that asks for one."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.faults.cell import PromiseBrokenError
from tests.faults.real_stage import alone_on
from tests.faults.real_work import Work, assert_undisturbed, reference

BETWEEN = " | "


def points(work: Work, scratch: Path) -> Sequence[str]:
    """One place of the supervisor and one of a trial each: process, operation, who asked for it, the file's class."""
    places = sorted(reference(work, scratch).passed)
    of_trials = [place for place in places if place.startswith("trial ")]
    others = [place for place in places if place not in of_trials]
    pairs = itertools.zip_longest(others, of_trials)
    return [BETWEEN.join(place for place in pair if place is not None) for pair in pairs]


def check(work: Work, scratch: Path, point: str, folder: Path) -> int:
    """A passing of each place chosen at random; the first one where the disturbed run passed it less often."""
    places = point.split(BETWEEN)
    passed = reference(work, scratch).passed
    chosen = {place: random.Random(place).randint(1, passed[place]) for place in places}
    missed = set(places) - _killed(work, scratch, chosen, folder / "chosen")
    missed -= _killed(work, scratch, dict.fromkeys(missed, 1), folder / "first") if missed else set()
    if missed:
        raise PromiseBrokenError(f"the undisturbed run passed {missed}, this one did not")
    return len(places)


def _killed(work: Work, scratch: Path, passings: Mapping[str, int], folder: Path) -> set[str]:
    """Where the run in the folder was killed; it ended as the undisturbed one."""
    with alone_on(work.stage(folder)) as stage:
        stage.trap(*passings.items())
        stage.start()
        stage.watch()
        stage.leave()
    assert_undisturbed(reference(work, scratch), stage)
    return stage.trapped()
