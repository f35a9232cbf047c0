"""The values that cross a border: between processes, into files, from one layer to the next.

Frozen dataclasses only. `parse` turns decoded JSON back into one and refuses unknown fields by name.
Times are seconds, sizes are megabytes (2**20 bytes), rates are fractions in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar, cast

import pydantic

from supervisor.lesson import Lesson

SCHEMA = 1

Scalar = bool | int | float | str
"""A parameter's value. Booleans and strings are categorical."""

Params = Mapping[str, Scalar]
"""A complete configuration of one target, keyed by dotted parameter name."""

Json = pydantic.JsonValue


class Status(StrEnum):
    """How a trial ended."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    OUT_OF_BUDGET = "out_of_budget"
    INVALID = "invalid"


class Outcome(StrEnum):
    """What a decision says."""

    PROMOTE = "promote"
    REJECT = "reject"
    INCONCLUSIVE = "inconclusive"


class Reason(StrEnum):
    """The closed list of reasons a log line, a decision or a trial's end may carry."""

    # a decision
    BASELINE = "baseline"  # the default configuration becomes the first incumbent
    PROVEN = "proven"  # the paired test reached its evidence threshold
    CONTENDER = "contender"  # earned the paired test
    BELOW_SCREEN = "below_screen"  # the screen difference did not earn the paired test
    NOT_CONFIRMED = "not_confirmed"  # only winners of a confirmation are contenders here
    FUTILE = "futile"  # the paired test found no sign of the wanted gain
    PAIRS_EXHAUSTED = "pairs_exhausted"  # no verdict within the largest number of pairs
    TIME_EXHAUSTED = "time_exhausted"  # no verdict within the largest duration
    GUARD_FAILED = "guard_failed"  # proven or first, but a guard did not hold
    ROLLED_BACK = "rolled_back"  # this very version was rolled back before and never comes back
    INCUMBENT_GONE = "incumbent_gone"  # the version tested against was rolled back meanwhile
    SAME_VERSION = "same_version"  # the candidate is the incumbent, byte for byte
    AWAITING_OPERATOR = "awaiting_operator"  # proven, and promotion.mode is manual
    MANUAL_PROMOTION = "manual_promotion"
    MANUAL_ROLLBACK = "manual_rollback"
    DEGRADED = "degraded"  # the server went back: production's outcomes were worse than before
    HARD_FAULT = "hard_fault"  # the server went back: NaN, errors, latency over budget
    NO_INCUMBENT = "no_incumbent"  # nothing to compare with: it began before there was an incumbent, or becomes it
    # a trial that ended without a usable candidate
    CRASHED = "crashed"  # the trial process died (signal or exception)
    NAN = "nan"  # a number that must be finite was not
    DIVERGED = "diverged"  # the training's numbers blew up
    OUT_OF_MEMORY = "out_of_memory"
    WALL_TIME = "wall_time"
    GPU_TIME = "gpu_time"  # it held the GPU for longer than its budget
    HUNG = "hung"  # no heartbeat
    NO_PROGRESS = "no_progress"  # three attempts in a row that saved nothing new
    BUILD_FAILED = "build_failed"
    BUILD_TIMEOUT = "build_timeout"
    EXIT_CODE = "exit_code"  # an external program left with a non-zero code
    TIMEOUT = "timeout"  # an external program outlived timeout_s
    NO_OUTPUT = "no_output"
    BAD_OUTPUT = "bad_output"  # output that is not one JSON object of the documented form
    OUTPUT_TOO_LARGE = "output_too_large"
    GAMES_MISMATCH = "games_mismatch"  # W + D + L, or the list, does not match the games asked for
    CONFIG_FILE = "config_file"  # the user's configuration file cannot be read or edited
    DROPPED_PAIRS = "dropped_pairs"  # more than 2 % of pairs were lost to the environment
    EXPORT_MISMATCH = "export_mismatch"  # the exported model does not answer as the trained one
    OUT_OF_RANGE = "out_of_range"  # an enqueued candidate outside its search space
    UNKNOWN_VERSION = "unknown_version"  # a request names a version that log and snapshot do not know
    EXPERIENCES_GONE = "experiences_gone"  # what a lesson was to learn from is not in the store any more
    FILE_GONE = "file_gone"  # a request goes to a version whose model file retention has removed
    GPU_GONE = "gpu_gone"  # the GPU that it was begun on, or is set to, went away and did not come back in time


class Waiting(StrEnum):
    """The closed list of what a run that starts no trial waits for."""

    PAUSED = "paused"  # until somebody resumes it
    RESOURCES = "resources"  # other programs use more than the limits allow, or the disk is nearly full
    GPU_HOURS = "gpu_hours"  # the target's are used for today
    GPU = "gpu"  # the one that the next trial needs is not there
    BACK_OFF = "back_off"  # trials keep failing, or resources were waited for in vain
    DISK = "disk"  # it is full
    EXPERIENCES = "experiences"  # nothing is searched, and too little was played to learn from


@dataclass(frozen=True)
class Budget:
    """What a trial may use. Steps decide; wall seconds are a net at about ten times the expected time."""

    steps: int
    wall_s: float
    ram_mb: int
    vram_fraction: float = 0.3  # in trial.json of all training together; at a launch the trial's own share
    gpu_s: float | None = None  # of the wall clock while it holds memory of the GPU


@dataclass(frozen=True)
class Tally:
    """Games of one side. score = wins + draws / 2."""

    wins: int = 0
    draws: int = 0
    losses: int = 0

    @property
    def games(self) -> int:
        return self.wins + self.draws + self.losses

    @property
    def score(self) -> float:
        return self.wins + self.draws / 2

    @property
    def rate(self) -> float | None:
        return self.score / self.games if self.games else None


@dataclass(frozen=True)
class Interface:
    """Tensor names and shapes of a model file; the first dimension is the batch and is given as 0."""

    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Version:
    """An immutable result in the registry: a model file, or an external configuration (then model_sha256 is its hash).

    `name` is v000042 when it came from iteration 42.
    """

    name: str
    iteration: int
    params: Params
    model_sha256: str
    weights_sha256: str | None = None
    interface: Interface | None = None
    level: int = 0


@dataclass(frozen=True)
class TrialSpec:
    """`trial.json`: everything the trial process is told. Model files lie in `../../models` seen from its folder."""

    run_id: str
    iteration: int
    target: str
    kind: str  # arena | command | module:Class
    purpose: str  # baseline | search | confirmation | enqueued | manual | continuous
    sampler: str
    params: Params
    level: int
    scale: str  # small | full
    budget: Budget
    games: int
    seeds: Mapping[str, int]  # train, screen, topup, duel, measure, confirm: first seed of each phase
    candidates: tuple[Params, ...] = ()  # confirmation only: each is built, `params` is the first of them
    incumbent: Version | None = None  # plays the screen on the candidate's seeds
    start: Version | None = None  # weights to start from; None is from scratch
    frequency: str | None = None  # class under which the agenda picked it; None when a request asked for it
    topup_games: int = 0  # fresh games of the incumbent, to keep its published rate current
    changed: tuple[str, ...] = ()  # parameters that differ from the incumbent
    search: Mapping[str, Json] = field(default_factory=dict)  # the sampler's own record, see search/
    settings: Mapping[str, Json] = field(default_factory=dict)  # the target's own section: command, build, arena ...
    rules: Mapping[str, Json] = field(default_factory=dict)  # what decides about it, as the settings were: see rules.py
    problems: tuple[str, ...] = ()  # why an enqueued configuration is none of this target's
    versions: Mapping[str, str] = field(default_factory=dict)  # library versions the trial was proposed under
    facts: tuple[Mapping[str, Json], ...] = ()  # requests consumed for this iteration
    curves: bool = False  # whether the training's figures are written for TensorBoard
    lesson: Lesson | None = None  # what was played and is learnt from, instead of play of the trial's own
    device: str = "auto"  # cpu | cuda | cuda:N | auto (and of earlier programs' trials), see execution/device.py
    schema: int = SCHEMA

    @property
    def archetype(self) -> str:
        return self.target.split("/", 1)[0]

    @property
    def model_type(self) -> str:
        return self.target.split("/", 1)[1]


@dataclass(frozen=True)
class Group:
    """`group.json`: other trials of the target whose trainings the process does as one batch with its own. It is gone
    once they have ended."""

    iterations: tuple[int, ...]
    schema: int = SCHEMA


@dataclass(frozen=True)
class Guard:
    """One guard's verdict. `value` is None in the log where the quantity is a measured latency."""

    value: float | None
    bound: float
    passed: bool


@dataclass(frozen=True)
class TrialResult:
    """`result.json`, written last by the build stage: a candidate and its screen games, or why there is none.

    model_sha256 and weights_sha256 name `model.onnx` and `final.pt` in the trial folder; an external target has no
    files and gives the sha256 of its canonical configuration as model_sha256.
    """

    iteration: int
    status: Status
    reason: Reason | None = None  # None when complete
    params: Params = field(default_factory=dict)  # of the winner in a confirmation
    steps: int = 0
    candidate: Tally = Tally()
    incumbent: Tally = Tally()
    delta: float | None = None  # mean paired score difference on the screen games
    topup: Tally = Tally()  # the incumbent's fresh games
    games: int = 0  # played by any side, of every phase
    model_sha256: str | None = None
    weights_sha256: str | None = None
    interface: Interface | None = None
    measured: Mapping[str, float] = field(default_factory=dict)  # quantities that guards bound, by name
    metrics: Mapping[str, float] = field(default_factory=dict)  # deterministic ones only: they enter the log line
    confirmation: tuple[Mapping[str, Json], ...] = ()  # per candidate: games, score, round reached
    detail: str = ""  # free text, goes to time.detail
    latency: Mapping[str, float] = field(default_factory=dict)  # measured seconds, go to time.latency
    schema: int = SCHEMA


@dataclass(frozen=True)
class TestPlan:
    """The paired test's constants for one contest (DESIGN 8)."""

    alpha: float = 0.05
    beta: float = 0.2
    min_improvement: float = 0.001
    futility_effect: float = 0.03  # d_f
    evidence_threshold: float = 20.0  # promote at E >= this: 1/alpha, or 1/alpha_k under fdr
    batch_pairs: int = 10
    max_pairs: int = 3000
    max_seconds: float | None = None


@dataclass(frozen=True)
class DuelSpec:
    """`duel.json`: the second stage of a trial, paired games of its candidate against the incumbent of the moment."""

    iteration: int
    incumbent: Version
    plan: TestPlan
    measure_pairs: int
    schema: int = SCHEMA


@dataclass(frozen=True)
class Decision:
    """The verdict on a candidate and the numbers that led to it; None where no test was played."""

    rule: str  # paired_e | none | manual
    outcome: Outcome
    reason: Reason
    alpha: float | None = None  # the level this test was held to
    n_pairs: int = 0
    e_value: float | None = None
    effect: float | None = None  # mean score difference over the test's pairs
    ci_low: float | None = None  # 95 % confidence sequence, valid whenever it is looked at
    ci_high: float | None = None
    corr_hat: float | None = None  # correlation of the two sides' scores over the pairs


@dataclass(frozen=True)
class DuelResult:
    """`duel_result.json`. `measured` is over the fresh measuring pairs played after a verdict to promote."""

    iteration: int
    status: Status
    reason: Reason | None
    decision: Decision | None
    games: int = 0  # both sides, test and measuring
    dropped_pairs: int = 0
    measured_candidate: Tally = Tally()
    measured_incumbent: Tally = Tally()
    measured_gain: float | None = None
    detail: str = ""
    schema: int = SCHEMA


@dataclass(frozen=True)
class ScoreTask:
    """What a version is to be examined on: games that decide nothing, against its untrained self and a baseline."""

    target: str
    version: str
    model_sha256: str
    params: Params
    level: int
    games: int
    seed: int  # of the first game
    untrained_seed: int  # of the network as it was before any training


@dataclass(frozen=True)
class Score:
    """Mean score in [0, 1] over the task's games, with its 95 % interval (Wilson)."""

    rate: float
    low: float
    high: float


@dataclass(frozen=True)
class ScoreCard:
    """How well a version does. The gain is over the untrained network, paired by seed, with its 95 % interval.

    `bar` is the score that a game's baseline reaches on the same seeds: one half where the traditional AI of level 1
    is the opponent, a simple rule's accuracy where situations are judged.
    """

    task: ScoreTask
    untrained: Score
    trained: Score
    gain: float
    gain_low: float
    gain_high: float
    first_level: Score  # the trained one's at level 1
    bar: float
    bar_name: str
    parameters: int  # numbers in the network that answers in production
    measured: Mapping[str, float]  # what guards bound: entropy_bits, reward, accuracy, explained_variance
    latency_ms: Mapping[str, float]  # P95 by batch_1 and batch_128
    schema: int = SCHEMA

    @property
    def learnt(self) -> bool:
        """Better than the untrained network beyond doubt."""
        return self.gain_low > 0

    @property
    def over_the_bar(self) -> bool:
        """Better than its baseline beyond doubt."""
        return self.first_level.low > self.bar


T = TypeVar("T")


_adapters: dict[type, pydantic.TypeAdapter[object]] = {}


def _adapter(cls: type) -> pydantic.TypeAdapter[object]:
    if cls not in _adapters:
        _adapters[cls] = pydantic.TypeAdapter(cls)
    return _adapters[cls]


def parse(cls: type[T], data: object) -> T:
    """The dataclass from decoded JSON.

    Raises ValueError (pydantic.ValidationError) that names every unknown, missing or ill-typed field.
    """
    return cast(T, _adapter(cls).validate_python(data, extra="forbid"))


def as_json(value: object) -> dict[str, Json]:
    """The dataclass as JSON-ready dictionaries, lists and scalars."""
    return cast(dict[str, Json], _adapter(type(value)).dump_python(value, mode="json"))
