"""The pure fold State x Record -> State: what the supervisor knows is what its lines say, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from supervisor import agenda
from supervisor.agenda import Agenda
from supervisor.contract import Outcome, Tally, Version
from supervisor.record import FIRST_CHAIN, Record
from supervisor.search import fold as search_fold
from supervisor.search.fold import SearchState
from supervisor.totals import Totals, add_line


@dataclass(frozen=True)
class TargetState:
    """One target after some iterations."""

    iterations: int = 0  # lines of this target
    incumbent: Version | None = None
    pool: Tally = Tally()  # fresh games that measure the incumbent
    pools: Mapping[str, Tally] = field(default_factory=dict)  # what earlier incumbents had when they were replaced
    level: int = 0  # of the opponent, in the latest line
    next_level: int = 0  # in what is proposed next
    reward: float | None = None  # mean of a game, measured when the incumbent was made
    search: SearchState = field(default_factory=SearchState)
    tests: int = 0  # paired tests spent, for e-LOND
    promotions: int = 0  # tests that promoted, for e-LOND
    versions: Mapping[str, Version] = field(default_factory=dict)
    history: tuple[str, ...] = ()  # names of the versions that were incumbent, oldest first, without the present one
    rolled_back: tuple[str, ...] = ()
    looked_upto: str = ""  # how far a lesson went (`Lesson.reached`), whatever came of it
    learnt_upto: Mapping[str, str] = field(default_factory=dict)  # by version: as far as is in its weights
    cycle: int = 0  # the last cycle it had a lesson in

    @property
    def ways_back(self) -> list[str]:
        """Names of the versions that were incumbent before and may come back, the one before the present first."""
        never = {*self.rolled_back, self.incumbent.name if self.incumbent else None}
        return [name for name in dict.fromkeys(reversed(self.history)) if name not in never]


@dataclass(frozen=True)
class State:
    """The run after `iteration` lines. `chain` is that of the last line."""

    iteration: int = 0
    chain: str = FIRST_CHAIN
    total_games: int = 0
    targets: Mapping[str, TargetState] = field(default_factory=dict)
    agenda: Agenda = field(default_factory=Agenda)
    totals: Totals = field(default_factory=Totals)

    def target(self, key: str) -> TargetState:
        return self.targets.get(key, TargetState())

    @property
    def cycle(self) -> int:
        """The last one that any target had a lesson in."""
        return max((target.cycle for target in self.targets.values()), default=0)

    def best_target(self) -> str | None:
        """The target with the highest measured rate; the first by key where several are equal."""
        measured = [(state.pool.rate, key) for key, state in self.targets.items() if state.pool.rate is not None]
        return min(measured, key=lambda item: (-item[0], item[1]))[1] if measured else None


def fold(state: State, record: Record) -> State:
    """The state after one more line."""
    target = _fold_target(state.target(record.target), record)
    frequency = record.frequency
    return State(
        iteration=record.iteration,
        chain=record.chain,
        total_games=state.total_games + record.games,
        targets={**state.targets, record.target: target},
        agenda=agenda.picked(state.agenda, record.target, frequency) if frequency else state.agenda,
        totals=add_line(state.totals, record),
    )


def fold_all(state: State, records: Iterable[Record]) -> State:
    for record in records:
        state = fold(state, record)
    return state


def _fold_target(target: TargetState, record: Record) -> TargetState:
    made = record.made_version
    versions = dict(target.versions)
    if made is not None:
        versions.setdefault(made.name, made)
    incumbent = _incumbent_after(target, record, versions)
    changed = incumbent != target.incumbent
    history, pools = target.history, target.pools
    if changed and target.incumbent is not None:
        history = (*history, target.incumbent.name)
        pools = {**pools, target.incumbent.name: target.pool}
    if record.level != target.level:
        pools = {}  # they were measured against another opponent
    reward = record.metrics.get("reward") if changed else target.reward
    return replace(
        target,
        iterations=target.iterations + 1,
        incumbent=incumbent,
        pool=record.pool,
        pools=pools,
        level=record.level,
        next_level=max(target.next_level, record.next_level),
        reward=reward,
        search=search_fold.advance(target.search, record),
        tests=target.tests + record.was_tested,
        promotions=target.promotions + (record.was_tested and record.decision.outcome is Outcome.PROMOTE),
        versions=versions,
        history=history,
        rolled_back=tuple(sorted({*target.rolled_back, *record.rollbacks})),
        looked_upto=_looked_upto(target, record),
        learnt_upto=_learnt_upto(target, record, made),
        cycle=record.lesson.cycle if record.lesson is not None else target.cycle,
    )


def _looked_upto(target: TargetState, record: Record) -> str:
    """Whatever came of it: what no incumbent has learnt is in the next lesson again, once there is more of it."""
    return target.looked_upto if record.lesson is None else record.lesson.reached


def _learnt_upto(target: TargetState, record: Record, made: Version | None) -> Mapping[str, str]:
    """What a version has learnt from play it has from its lesson, or from the version whose weights it started from."""
    if made is None or made.name in target.versions:  # a version that comes back is what it was
        return target.learnt_upto
    upto = record.lesson.reached if record.lesson is not None else target.learnt_upto.get(record.start or "", "")
    return {**target.learnt_upto, made.name: upto} if upto else target.learnt_upto


def _incumbent_after(target: TargetState, record: Record, versions: Mapping[str, Version]) -> Version | None:
    if record.promoted and record.version is not None:
        return versions[record.version]
    if record.goes_back:
        return versions[record.version] if record.version is not None else None
    return target.incumbent
