"""The search's part of the state: a pure fold over a target's lines that needs nothing but the line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from supervisor.contract import Json, Params, Reason, Status, parse
from supervisor.lesson import CONTINUOUS
from supervisor.record import Record
from supervisor.search import spsa

BEST_KEPT = 5
SPSA_KEY = "spsa"  # in a line's `search`: spsa.Note of an SPSA trial
OBJECTIVE_KEY = "objective"  # in a line's `search`: win_rate or delta, what samplers are told
CONFIRMED_AT_KEY = "confirmed_at"  # in a confirmation's `search`: SPSA trials before it
WIN_RATE, DELTA = "win_rate", "delta"


@dataclass(frozen=True)
class Observed:
    """A complete trial and what it scored."""

    iteration: int
    value: float
    params: Params


@dataclass(frozen=True)
class SearchState:
    """One target's search after some of its lines."""

    spsa: spsa.Position = field(default_factory=spsa.Position)
    best: tuple[Observed, ...] = ()  # best observed since the last confirmation, best first
    confirmed_at: int = 0  # SPSA trials before the last confirmation
    iterations: int = 0  # lines of the target
    since_promotion: int = 0  # of them, since the incumbent changed
    level: int = 0
    objective: str = WIN_RATE  # of the values in `best`


def advance(state: SearchState, record: Record) -> SearchState:
    """The search after one more line of its target."""
    state = replace(state, iterations=state.iterations + 1)
    if record.purpose == CONTINUOUS:  # it proposed nothing
        return replace(state, since_promotion=0) if record.promoted else state
    objective = str(record.search.get(OBJECTIVE_KEY, state.objective))
    if (record.level, objective) != (state.level, state.objective):
        # rates are not compared across levels, nor with differences
        state = replace(state, level=record.level, objective=objective, best=())
    note = spsa_note(record.search)
    if note is not None and record.purpose == "search":
        rate = record.win_rate if record.status is Status.COMPLETE else None
        state = replace(state, spsa=spsa.advance(state.spsa, note, rate, record.level, record.params))
    if record.purpose == "confirmation":
        state = replace(state, confirmed_at=max(state.confirmed_at, _confirmed_at(record)), best=())
    elif record.purpose in ("search", "enqueued"):
        state = replace(state, best=_best(state, record))
    if _changed_by_hand(record):
        return replace(state, spsa=spsa.reset(state.spsa, record.iteration), since_promotion=0)
    return replace(state, since_promotion=0 if record.promoted else state.since_promotion + 1)


def spsa_note(search: Mapping[str, Json]) -> spsa.Note | None:
    """The SPSA note of a line's or a specification's `search`, if it has one."""
    body = search.get(SPSA_KEY)
    return None if body is None else parse(spsa.Note, body)


def value_of(record: Record, objective: str) -> float | None:
    """What a sampler is told of a line: its win rate, or its paired difference to the incumbent of its time.

    A first incumbent has no difference; it is its own measure, so 0. None where the line has no value.
    """
    if record.status is not Status.COMPLETE or record.purpose == CONTINUOUS:
        return None
    if objective == DELTA:
        first = record.delta is None and record.decision.reason in (Reason.BASELINE, Reason.NO_INCUMBENT)
        return 0.0 if first else record.delta
    return record.win_rate


def _best(state: SearchState, record: Record) -> tuple[Observed, ...]:
    value = value_of(record, state.objective)
    if value is None:
        return state.best
    seen = Observed(iteration=record.iteration, value=value, params=dict(record.params))
    ranked = sorted((*state.best, seen), key=lambda item: (-item.value, item.iteration))
    return tuple(ranked[:BEST_KEPT])


def _confirmed_at(record: Record) -> int:
    marked: Json = record.search.get(CONFIRMED_AT_KEY, 0)
    return marked if isinstance(marked, int) else 0


def _changed_by_hand(record: Record) -> bool:
    return record.goes_back or record.decision.reason in (Reason.MANUAL_PROMOTION, Reason.MANUAL_ROLLBACK)
