"""The log line: one iteration as it is committed to `training_log.jsonl`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from supervisor.contract import (
    SCHEMA,
    Decision,
    Guard,
    Interface,
    Json,
    Outcome,
    Params,
    Reason,
    Status,
    Tally,
    Version,
)
from supervisor.lesson import Lesson

FIRST_CHAIN = "0" * 32  # what the first line of a run is chained to
PURPOSES_OF_PEOPLE = frozenset({"manual", "enqueued"})  # what a person asked for says nothing about the machine
NOT_TESTED = frozenset({"none", "manual"})  # decision rules that consume no test of the error budget


@dataclass(frozen=True)
class Record:
    """One iteration. Everything but `time` (and `chain`, which covers the rest) is a function of seed and settings."""

    run_id: str
    iteration: int
    target: str
    archetype: str
    model_type: str
    study: str  # Optuna study name, the target key
    trial: int  # number of the target's trial, from 0: the trial number in its study
    sampler: str  # name of the sampler, or manual | enqueued | import | continuous
    purpose: str  # baseline | search | confirmation | enqueued | manual | continuous
    seed: int  # first seed of the training phase
    level: int
    params: Params
    changed: tuple[str, ...]
    status: Status
    reason: Reason
    games: int  # played in this iteration by any side
    wins: int  # the candidate's on the screen games
    draws: int
    losses: int
    win_rate: float | None
    best_win_rate: float | None  # the target's incumbent after this iteration, as measured on fresh games
    improvement: float
    delta: float | None
    promoted: bool
    version: str | None  # set when the iteration made a version (promoted or awaiting the operator)
    model_sha256: str | None
    weights_sha256: str | None
    steps: int
    decision: Decision
    frequency: str | None = None  # see TrialSpec
    against: str | None = None  # version the screen was played against
    start: str | None = None  # version the training started from
    next_level: int = 0  # of what is proposed after this line
    interface: Interface | None = None
    guards: Mapping[str, Guard] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    pool: Tally = Tally()  # fresh games that measure the incumbent, after this iteration
    confirmation: tuple[Mapping[str, Json], ...] = ()
    search: Mapping[str, Json] = field(default_factory=dict)  # the sampler's own record
    rollbacks: tuple[str, ...] = ()  # versions rolled back, consumed by this line
    requests: tuple[str, ...] = ()  # ids of the requests consumed by this line
    lesson: Lesson | None = None  # what was played and learnt from
    schema: int = SCHEMA
    time: Mapping[str, Json] = field(default_factory=dict)
    chain: str = ""

    @property
    def made_version(self) -> Version | None:
        """The version this line makes known, if any."""
        if self.version is None or self.model_sha256 is None:
            return None
        return Version(
            name=self.version,
            iteration=self.iteration,
            params=self.params,
            model_sha256=self.model_sha256,
            weights_sha256=self.weights_sha256,
            interface=self.interface,
            level=self.level,
        )

    @property
    def goes_back(self) -> bool:
        """Whether it takes the incumbent out: for `version`, or for none. A rollback that came too late takes out
        nothing, and is remembered."""
        return bool(self.rollbacks) and self.decision.reason is not Reason.INCUMBENT_GONE

    @property
    def was_tested(self) -> bool:
        """Whether a paired test was spent on its candidate."""
        return self.decision.rule not in NOT_TESTED

    @property
    def is_promotion_by_test(self) -> bool:
        return self.decision.outcome is Outcome.PROMOTE and self.decision.reason is Reason.PROVEN
