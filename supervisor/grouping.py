"""Which trials train together: some of one target, as one batch in the process of the first of them. Pure.

It only packs and delays: what a trial comes to never depends on the answer, and whatever goes wrong with a group, its
trials go on from what it saved, each by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from supervisor.contract import Scalar
from supervisor.execution.executor import ExitKind
from supervisor.flight import WANTS, Flight

OF_ONE_SHAPE: Mapping[str, tuple[str, ...]] = {
    "combat_dqn": (
        *("dqn.batch_size", "dqn.accumulation", "dqn.amp", "dqn.updates", "dqn.replay_rows", "dqn.learning_starts"),
        *("dqn.hidden", "dqn.dueling", "dqn.dropout"),
    )
}
"""Model types whose trainings can share a batch, and the parameters that those of one batch agree in."""

GENTLE = frozenset({ExitKind.STOPPED, *WANTS})
"""Ends of a process that say nothing against its group."""


def size_of_groups(workers: int, cpus: int) -> int:
    """As many trainings in a process as let every CPU have one process of so many workers."""
    return math.ceil(workers / cpus)


def group_for(
    flight: Flight, ready: Sequence[Flight], flights: Sequence[Flight], cpus: int, size: int
) -> tuple[int, ...] | None:
    """Who trains in the process that is about to start for the flight, its like before others; `ready` are all that
    could start now.

    None while it should not start: its training is under way in another's process, or more of its target are in flight
    and no CPU is idle: theirs, or those that come after them, are company.
    """
    if any(flight.spec.iteration in other.group for other in flights if other.leads):
        return None
    if size < 2 or not _may_share(flight, flights):
        return ()
    led = {iteration for other in flights if other.leads for iteration in other.group}
    willing = [
        other
        for other in ready
        if other is not flight
        and other.handle is None
        and other.spec.target == flight.spec.target
        and other.want == flight.want
        and other.spec.iteration not in led
        and _may_share(other, flights)
    ]
    busy = [other for other in flights if other.handle is not None]
    expected = 1 + len(willing) + sum(other.spec.target == flight.spec.target for other in busy)
    if len(willing) + 1 < min(size, expected) and len(busy) >= cpus:
        return None
    alike = sorted(willing, key=lambda other: _shape(other) != _shape(flight))  # otherwise in order of iteration
    return tuple(sorted(other.spec.iteration for other in alike[: size - 1]))


def _shape(flight: Flight) -> list[Scalar | None]:
    return [flight.spec.params.get(name) for name in OF_ONE_SHAPE[flight.spec.model_type]]


def _may_share(flight: Flight, flights: Iterable[Flight]) -> bool:
    spec = flight.spec
    return (
        spec.kind == "arena"
        and spec.model_type in OF_ONE_SHAPE
        and not spec.candidates  # a confirmation's are a batch already
        and not spec.curves  # which each training writes for itself
        and not spec.problems  # it fails before it trains
        and spec.iteration not in _parted(flights)
        and flight.stage == "build"
        and not flight.folder.is_trained
    )


def _parted(flights: Iterable[Flight]) -> set[int]:
    """Those whose group came to a bad end."""
    bad = [
        (flight.spec.iteration, fact.get("group"))
        for flight in flights
        for fact in flight.exits
        if fact.get("shared") and fact["kind"] not in GENTLE
    ]
    return {iteration for leader, group in bad for iteration in (leader, *(group if isinstance(group, list) else ()))}
