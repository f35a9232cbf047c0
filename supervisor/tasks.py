"""What a command asks of a process that has torch, and what comes back: the values of `task.json` and `result.json`.

One pair for each module of `trainers/jobs/`. Seeds are given, never drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from supervisor.contract import Params

TASK_NAME, RESULT_NAME = "task.json", "result.json"
FAILED = 100
"""A process that fails with words for the operator leaves with this more than the exit code; any other is a crash."""


@dataclass(frozen=True)
class ExportItem:
    """One version to write. `name` is the file's, without its ending; fights of `seed` on give the rows it is tried
    on."""

    name: str
    target: str
    model_sha256: str
    level: int
    seed: int


@dataclass(frozen=True)
class ExportTask:
    """Models lie in `models`, files go to `output`. Without `tolerance` nothing is compared."""

    items: tuple[ExportItem, ...]
    models: str
    output: str
    half: bool  # FP16 inside; inputs and outputs stay FP32
    optimize: bool
    tolerance: float | None = None  # largest difference of an answer to the registered file's
    equal_choices: float = 1.0  # smallest share of rows whose choice is the same


@dataclass(frozen=True)
class ExportFile:
    """What became of an item. `problem` says why no file was written."""

    name: str
    sha256: str = ""
    parameters: int = 0
    difference: float | None = None  # None where nothing was compared
    equal_choices: float | None = None  # None where the model chooses nothing
    problem: str = ""


@dataclass(frozen=True)
class ExportResult:
    files: tuple[ExportFile, ...]


@dataclass(frozen=True)
class Trained:
    """What is trained: a target's configuration for `steps` against one level, from weights of `start_sha256` or from
    scratch. `pack_size` is team_coordination's alone."""

    target: str
    level: int
    params: Params
    steps: int
    seed: int
    models: str = ""
    start_sha256: str | None = None
    pack_size: int | None = None


@dataclass(frozen=True)
class CourseTask:
    """A training that is measured on its way: over `probe_games` at each quarter of it, over `games` at its end."""

    training: Trained
    name: str  # what its progress is called
    games: int
    first_game: int  # seed; those of the probes lie elsewhere
    probe_games: int
    output: str | None = None  # where model.onnx and final.pt go


@dataclass(frozen=True)
class CourseResult:
    """`scores` game by game, in order; the curve is (steps, mean score) at each quarter."""

    scores: tuple[float, ...]
    curve: tuple[tuple[int, float], ...]
    steps: int
    seconds: float  # of training alone
    taken_over: float | None = None  # 1 when every tensor of the weights to start from fitted
    before: tuple[float, ...] = ()  # the same games by the network as the training found it
    metrics: Mapping[str, float] = field(default_factory=dict)
    baseline: float | None = None  # what the rule that a situation is judged by scores; None in fights
    model_sha256: str | None = None


@dataclass(frozen=True)
class RewardsTask:
    """Fights of an archetype against one level, by a combat_dqn's file of `models` or by the script. With `data`, a
    file that `incumbent collect` wrote, nothing is played."""

    archetype: str
    level: int
    rewards: Params
    episodes: int
    seed: int
    models: str = ""
    model_sha256: str | None = None
    data: str | None = None


@dataclass(frozen=True)
class Distribution:
    """Of finite numbers. `quantiles` by percent: 0 1 5 25 50 75 95 99 100."""

    count: int
    not_finite: int
    mean: float
    sd: float
    quantiles: Mapping[str, float]


@dataclass(frozen=True)
class RewardsResult:
    """Rewards as a network is given them: points / 100."""

    played_by: str
    ticks: Distribution
    zero_share: float  # of ticks that bring no reward
    episodes: Distribution | None  # returns of whole fights
    terms: Mapping[str, float] = field(default_factory=dict)  # share of the sum of the terms' absolute rewards
    bad_states: int = 0  # rows of the data whose state holds NaN or infinite numbers


@dataclass(frozen=True)
class RewardsTasks:
    """One process answers them all."""

    tasks: tuple[RewardsTask, ...]


@dataclass(frozen=True)
class RewardsResults:
    results: tuple[RewardsResult, ...]


@dataclass(frozen=True)
class ProfileTask:
    """A training is watched for about `seconds`; the steps before it warm it up."""

    training: Trained
    seconds: float


@dataclass(frozen=True)
class ProfileResult:
    """`seconds` by part of the work, each without what it calls of the others. `outside_kernels` is the share of time
    in which no kernel of torch ran; None where none ran at all."""

    steps: int
    wall_s: float
    parts: Mapping[str, float]
    steps_per_s: float  # unwatched
    outside_kernels: float | None


@dataclass(frozen=True)
class CollectItem:
    """One archetype's file. `seed` is of its first fight."""

    archetype: str
    level: int
    seed: int


@dataclass(frozen=True)
class CollectTask:
    """`source` is traditional or synthetic."""

    items: tuple[CollectItem, ...]
    source: str
    samples: int
    output: str


@dataclass(frozen=True)
class Collected:
    """`left_out` rows of the store were no experience of 64 finite numbers."""

    archetype: str
    samples: int
    sha256: str
    left_out: int = 0


@dataclass(frozen=True)
class CollectResult:
    files: tuple[Collected, ...]


@dataclass(frozen=True)
class LiveItem:
    """A target that is played live: fights against a level, from seed `seed` on."""

    target: str
    level: int
    seed: int


@dataclass(frozen=True)
class LiveTask:
    """Fights that are played through a server, as a game would: so many clients with so many fights each, a share of
    the actions at random, at most so many steps a second of all targets together. `steps` and `seconds` end it,
    whichever comes first; without either it goes on until it is told to stop."""

    items: tuple[LiveItem, ...]
    host: str
    port: int
    clients: int
    fights: int
    exploration: float
    rate: float
    steps: int | None = None
    seconds: float | None = None
    say_every_s: float = 30.0


@dataclass(frozen=True)
class LivePlayed:
    """Of one target: fights by the version that played them, and how they ended (mean score in [0, 1])."""

    target: str
    steps: int
    fights: Mapping[str, int]
    score: Mapping[str, float]


@dataclass(frozen=True)
class LiveResult:
    """`stored` and `refused` are rows as the server counts them, `lost` those that it had no room for in the end."""

    played: tuple[LivePlayed, ...]
    stored: int
    refused: int
    lost: int
    seconds: float
