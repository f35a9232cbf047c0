"""The settings: one pydantic model per section, every key with its default, impossible values refused.

Where the values come from, and what a mistake in a file is called, is `load`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from supervisor.config.continuous import ContinuousSettings, ExperienceSettings
from supervisor.config.fields import (
    DECIDES,
    SECRET,
    DeviceName,
    FilePath,
    Fraction,
    Names,
    ParamValue,
    Positive,
    SamplerName,
    Section,
    Whole,
    a_token,
    whole,
)
from supervisor.contract import Json

GAMES_OF_SAMPLER: Mapping[str, int] = {"spsa": 100}  # games per trial where `run.games` is not given
GAMES_OTHERWISE = 30

# what the preset sets where the file says nothing (requirement C15)
GUARD_PRESETS: Mapping[str, Mapping[str, float]] = {
    "release": {
        "min_win_rate": 0.7,
        "min_reward": 100.0,
        "max_latency_ms": 15.0,
        "min_entropy_bits": 2.0,
        "min_explained_variance": 0.8,
    }
}

REDACTED = "(secret)"


class RunSettings(Section):
    seed: Whole = Field(default=0, ge=0, lt=2**52, json_schema_extra=DECIDES)
    """Every random choice of the run is derived from it. Where none is given, a folder keeps that of its last start."""
    run_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """Name of the run instead of the one derived from seed, settings and search spaces."""
    max_iterations: Positive | None = None
    """Stop after this iteration; none is for ever."""
    checkpoint_interval: Positive = 10
    """Iterations between snapshots."""
    games: Positive | None = Field(default=None, json_schema_extra=DECIDES)
    """Screen games per trial; none takes the sampler's figure."""
    baseline_games: Positive = Field(default=50, json_schema_extra=DECIDES)
    """Games that measure a target's default configuration before its first iteration of search."""
    workers: Annotated[Positive, Field(le=256)] = 1
    """Trials at a time. A folder's first start takes four lines of look-ahead per worker, which bounds later starts."""
    stacked: bool = False
    """Whether trials of one target train as one batch, in one process, where there are more workers than CPUs."""
    scale: Literal["small", "full"] = Field(default="small", json_schema_extra=DECIDES)
    """Size of networks and budgets: small for one CPU core, full for a GPU."""
    start_from: Literal["incumbent", "scratch"] = Field(default="incumbent", json_schema_extra=DECIDES)
    """Whether a trial's network starts from the incumbent's weights."""
    targets: Names = Field(default=("*/combat_dqn",), min_length=1, json_schema_extra=DECIDES)
    """Which targets to search: keys or globs."""
    search_spaces: FilePath | None = None
    """A folder of the user's own search spaces, read besides the built-in ones."""
    retention_trials: Annotated[Whole, Field(ge=0)] = 200
    """Trial folders kept after their commit, besides those of promotions."""
    retention_versions: Positive = 5
    """Versions of a target whose model files are kept beside the incumbent's: the last made, and the last that were in
    production. Older ones can be neither promoted nor rolled back to."""
    tensorboard: bool = False
    """Whether trainings write their figures for TensorBoard, into their trial folders."""
    retention_console_logs: Positive = 50
    """Console logs kept, one of each start."""
    metrics_host: str = Field(default="127.0.0.1", min_length=1)
    """Where Prometheus may ask this run for its figures. They hold no secret, and nothing can be changed there."""
    metrics_port: Whole | None = Field(default=9091, ge=0, le=65535)
    """0 lets the system choose, none is no metrics. Where it is taken the run goes on without."""


class SearchSettings(Section):
    sampler: SamplerName = Field(default="spsa", json_schema_extra=DECIDES)
    """Who proposes: a name, or module:Class of an Optuna BaseSampler."""
    on_stagnation: Annotated[tuple[SamplerName, ...], Field(strict=False)] = Field(
        default=("perturb", "tpe"), json_schema_extra=DECIDES
    )
    """Samplers to go over to, in this order, when wider steps did not help."""
    stagnation_iterations: Positive = Field(default=100, json_schema_extra=DECIDES)
    """Iterations of a target without promotion that count as stagnation."""
    magnitude: float = Field(default=0.15, gt=0.0, le=1.0, json_schema_extra=DECIDES)
    """Relative size of a step of `perturb`."""
    storage_url: SecretStr | None = Field(default=None, json_schema_extra=SECRET)
    """Optuna storage of the dashboard's projection; none is study.db in the run folder."""


class GuardSettings(Section):
    preset: Literal["release"] | None = Field(default=None, json_schema_extra=DECIDES)
    """Bounds to take where none is given here: release asks for what a release to players should reach."""
    min_win_rate: Fraction | None = Field(default=0.2, json_schema_extra=DECIDES)
    min_accuracy: Fraction | None = Field(default=0.3, json_schema_extra=DECIDES)
    min_reward: float | None = Field(default=None, json_schema_extra=DECIDES)
    """Mean reward of a game."""
    min_entropy_bits: float | None = Field(default=None, ge=0.0, json_schema_extra=DECIDES)
    """Entropy of the actions' frequencies over the evaluation states."""
    min_explained_variance: Fraction | None = Field(default=None, json_schema_extra=DECIDES)
    max_latency_ms: float | None = Field(default=50.0, gt=0.0, json_schema_extra=DECIDES)
    """P95 of one inference, of a batch of 1 and of 128."""
    max_onnx_difference: float = Field(default=1e-4, gt=0.0, json_schema_extra=DECIDES)
    """Largest difference between the exported and the trained model's outputs (32-bit)."""


class PromotionSettings(Section):
    mode: Literal["auto", "manual"] = Field(default="auto", json_schema_extra=DECIDES)
    """manual: a proven winner waits for `incumbent promote`."""
    contenders: Literal["screened", "confirmed"] | None = Field(default=None, json_schema_extra=DECIDES)
    """Who earns the paired test; none takes what suits the kind of target."""
    min_improvement: float = Field(default=0.001, ge=0.0, lt=1.0, json_schema_extra=DECIDES)
    """Gain in score per pair that a winner must be proven to exceed."""
    alpha: float = Field(default=0.05, gt=0.0, lt=1.0, json_schema_extra=DECIDES)
    """Largest probability of promoting a candidate that is no better."""
    beta: float = Field(default=0.2, gt=0.0, lt=1.0, json_schema_extra=DECIDES)
    """Probability of giving up on a candidate that is better by `futility_effect`."""
    futility_effect: float = Field(default=0.03, gt=0.0, le=1.0, json_schema_extra=DECIDES)
    error: Literal["per_try", "fdr"] = Field(default="per_try", json_schema_extra=DECIDES)
    """What alpha bounds: each try, or the expected share of false promotions."""
    max_pairs: Annotated[Positive, Field(ge=10)] = Field(default=3000, json_schema_extra=DECIDES)
    """Pairs after which a test without verdict keeps the incumbent."""
    max_seconds: float | None = Field(default=None, gt=0.0, json_schema_extra=DECIDES)
    """Seconds after which it does; a clock then decides, and exact resume is given up for that test."""
    measure_pairs: Annotated[Whole, Field(ge=0)] = Field(default=200, json_schema_extra=DECIDES)
    """Fresh pairs that measure a winner."""
    topup_games: Annotated[Whole, Field(ge=0)] = Field(default=20, json_schema_extra=DECIDES)
    """Fresh games that keep the incumbent's published rate current ..."""
    topup_every: Positive = Field(default=10, json_schema_extra=DECIDES)
    """... every so many iterations of its target."""
    guards: GuardSettings = GuardSettings()


class BudgetSettings(Section):
    steps: Positive | None = Field(default=None, json_schema_extra=DECIDES)
    """Training steps of a trial; none takes the model type's figure."""
    wall_s: float | None = Field(default=None, gt=0.0)
    """Seconds a trial may take, a net against hangs; none takes the model type's figure."""
    ram_mb: Annotated[Positive, Field(ge=64)] = 4096
    """Memory a trial may take beyond what its process starts with."""
    vram_fraction: float = Field(default=0.3, gt=0.0, le=1.0)
    """Share of each GPU's memory for training, divided among the workers that share it; the rest is for serving."""
    gpu_s: float | None = Field(default=None, gt=0.0)
    """Seconds of the wall clock in which a trial may hold memory of the GPU."""
    gpu_hours_per_day: float | None = Field(default=None, gt=0.0)
    """The same of all trials of a target together, in hours per day (UTC). Its next trial waits for the next day,
    and so do all that are due after it, of other targets too: the order is kept. What is promoted or rolled back by
    hand does not wait."""
    heartbeat_s: float = Field(default=120.0, gt=0.0)
    """Seconds without a sign of life after which a trial counts as hung."""
    stop_grace_s: float = Field(default=15.0, gt=0.0)
    """Seconds a trial has to save itself when it is asked to stop."""


class ResourceSettings(Section):
    """What other programs may use until trials make room for them. Other programs are all but the run with its trials,
    and the servers of its run folder, which have their own share (`budgets.vram_fraction` leaves it them). Two runs are
    other programs to each other."""

    pause_on_high_load: bool = True
    """Whether the limits here are looked at: while they are exceeded no trial starts, and after five seconds those that
    run save and leave until use has fallen by a tenth below them. Free disk is looked at in any case."""
    max_cpu_percent: float | None = Field(default=None, gt=0.0, le=100.0)
    """Of all CPUs together, that other programs may use."""
    max_ram_gb: float | None = Field(default=None, gt=0.0)
    """Memory that other programs may use."""
    max_vram_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 0.7
    """Of the GPU's memory, that other programs may use."""
    min_free_disk_mb: Annotated[Whole, Field(ge=0)] = 512
    """Start no trial while the run folder's disk has less room than this."""
    wait_s: float = Field(default=300.0, ge=0.0)
    """Seconds to wait for resources; then nothing new starts for as long again. A trial that had to leave goes on as
    soon as there are."""


class ServingSettings(Section):
    host: str = Field(default="127.0.0.1", min_length=1)
    port: Whole = Field(default=8080, ge=0, le=65535)
    """0 lets the system choose."""
    admin_host: str = Field(default="127.0.0.1", min_length=1)
    """Address of the listener that administration has to itself, where `admin_port` is set."""
    admin_port: Annotated[int, BeforeValidator(whole), Field(ge=0, le=65535)] | None = None
    """Its port: reloads and rollbacks are taken there and nowhere else. None is `port`, for everything."""
    token: Annotated[SecretStr, AfterValidator(a_token)] | None = Field(default=None, json_schema_extra=SECRET)
    """Bearer token of the administrative routes; needed unless they are bound to loopback."""
    token_file: FilePath | None = None
    """File holding the token, readable by its owner alone."""
    max_body_kb: Annotated[Whole, Field(ge=1)] = 1024
    """Of one request, unpacked; more is answered 413."""
    max_rows: Annotated[Whole, Field(ge=1)] = 256
    """In one request, and in one batch."""
    max_in_flight: Annotated[Whole, Field(ge=1)] = 1024
    """Inferences that wait at a time; more are answered 503."""
    max_connections: Annotated[Whole, Field(ge=1)] = 4096
    """Open at a time; more are answered 503."""
    body_timeout_s: float = Field(default=10.0, gt=0.0)
    """For a request to arrive whole; a slower one is answered 408."""
    deadline_s: float = Field(default=5.0, gt=0.0)
    """That an inference may wait to be run; later it is answered 504."""
    provider: Literal["auto", "cpu", "cuda"] = "auto"
    """What models run on; `auto` is CUDA where it loads. All sessions together keep to what `budgets.vram_fraction`
    leaves of the GPU's memory."""

    @field_validator("admin_port")
    @classmethod
    def _a_port_of_its_own(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value and value == info.data.get("port"):
            raise PydanticCustomError("same_port", "is serving.port too; give it a port of its own")
        return value

    @property
    def administration(self) -> tuple[str, int]:
        """Host and port where the server is told of changes."""
        return (self.host, self.port) if self.admin_port is None else (self.admin_host, self.admin_port)


class WatchSettings(Section):
    enabled: bool = True
    """Whether the server watches a version that goes live against the one before it."""
    window_s: float = Field(default=1800.0, gt=0.0)
    """For so long after the swap, unless the outcomes decide earlier."""
    holdback: float = Field(default=0.1, ge=0.0, le=0.9)
    """Share of the clients, by the hash of the key they send, that stay on the version before meanwhile."""
    canary: float | None = Field(default=None, gt=0.0, lt=1.0)
    """The other way round: share of the clients that get the new version before everybody does. Clients without a key
    then stay on the version before."""
    tolerance: float = Field(default=0.02, ge=0.0, lt=1.0)
    """Loss in score per game that is put up with; a rollback needs proof of a greater one."""
    alpha: float = Field(default=0.05, gt=0.0, lt=1.0)
    """Largest probability of rolling back a version that is within the tolerance."""
    beta: float = Field(default=0.2, gt=0.0, lt=1.0)
    """Probability of calling a version stable that is worse than the tolerance by `futility_effect`."""
    futility_effect: float = Field(default=0.03, gt=0.0, le=1.0)
    min_pairs: Annotated[Positive, Field(ge=10)] = 20
    """Pairs of outcomes before anything is concluded from them."""
    max_pairs: Annotated[Positive, Field(ge=10)] = 3000
    """Pairs after which a version that is not proven worse counts as stable."""
    settle_s: float = Field(default=300.0, ge=0.0)
    """Outcomes of clients that come within so long after the swap are not counted: at least the longest game's time."""
    games_per_client: Positive = 5
    """Outcomes of one client that are counted: clients are drawn, not games."""
    max_faults: Positive = 3
    """Answers that the new version could not give (an error, NaN) and the version before could, until it is out."""
    max_latency_ms: float = Field(default=50.0, gt=0.0)
    """P95 of a batch; a version that is slower, and half as slow again as the one before it, is out."""
    rollback_on_degradation: bool = True
    """false: degradation is told on console, `/models` and metrics, and nothing is rolled back."""

    @field_validator("beta")
    @classmethod
    def _a_test_at_all(cls, value: float, info: ValidationInfo) -> float:
        if value + info.data.get("alpha", 0.0) >= 1.0:
            raise PydanticCustomError("no_test", "alpha and beta together must be below 1")
        return value


class CurriculumSettings(Section):
    enabled: bool = Field(default=True, json_schema_extra=DECIDES)
    """Whether a target's opponent gets stronger once the incumbent has outgrown it."""
    by: Literal["win_rate", "reward"] = Field(default="win_rate", json_schema_extra=DECIDES)
    """What is held against the thresholds: the measured win rate, or the mean reward of a game."""
    num_levels: Annotated[Positive, Field(le=5)] = Field(default=5, json_schema_extra=DECIDES)
    """The highest level."""
    win_rate_thresholds: Annotated[tuple[Fraction, ...], Field(strict=False)] = Field(
        default=(0.8, 0.8, 0.8, 0.8, 0.8), min_length=5, max_length=5, json_schema_extra=DECIDES
    )
    """By level from 1 on: the incumbent's measured win rate that ends it."""
    level_thresholds: Annotated[tuple[float, ...], Field(strict=False)] = Field(
        default=(50.0, 100.0, 200.0, 400.0, 800.0), min_length=5, max_length=5, json_schema_extra=DECIDES
    )
    """By level from 1 on: the mean reward of a game, in points under the archetype's default weights, that ends it."""
    min_games: Positive = Field(default=100, json_schema_extra=DECIDES)
    """Fresh games that a win rate must rest on."""


class TargetSettings(Section):
    """One target, or all that its key matches as a glob; what is said here replaces the search space's figures."""

    params: dict[str, ParamValue] = Field(default_factory=dict)
    """Values by dotted parameter name: the configuration to start from."""
    frequency: Literal["high", "medium", "low"] | None = None
    """How often it comes: every cycle, every third, every tenth."""
    steps: Positive | None = None
    """Training steps of a trial, before `budgets.steps`."""
    device: DeviceName | None = None
    """What its trials compute on: cpu, cuda:N, or auto, which is a GPU at scale full, for networks that gain from one,
    and for programs of your own. It decides no more than the machine does, and so is no part of a run's identity."""


class Settings(Section):
    run: RunSettings = RunSettings()
    search: SearchSettings = SearchSettings()
    promotion: PromotionSettings = PromotionSettings()
    budgets: BudgetSettings = BudgetSettings()
    resources: ResourceSettings = ResourceSettings()
    serving: ServingSettings = ServingSettings()
    watch: WatchSettings = WatchSettings()
    curriculum: CurriculumSettings = CurriculumSettings()
    experience: ExperienceSettings = ExperienceSettings()
    continuous: ContinuousSettings = ContinuousSettings()
    targets: dict[str, TargetSettings] = Field(default_factory=dict)

    def games_of(self, sampler: str) -> int:
        """Screen games of a trial that this sampler proposed."""
        return self.run.games or GAMES_OF_SAMPLER.get(sampler, GAMES_OTHERWISE)

    def decides(self) -> dict[str, Json]:
        """The settings that a run's identity covers, by dotted name. `targets` counts through the search spaces."""
        return {name: as_plain(value) for name, info, value in walk(self) if is_marked(info, "decides")}


def is_marked(info: FieldInfo, mark: str) -> bool:
    return isinstance(info.json_schema_extra, dict) and bool(info.json_schema_extra.get(mark))


def walk(section: Section, prefix: str = "") -> Iterator[tuple[str, FieldInfo, object]]:
    """(dotted name, field, value) of every setting but those of `targets`, in the order of the model."""
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from walk(value, f"{prefix}{name}.")
        elif not isinstance(value, dict):
            yield f"{prefix}{name}", info, value


def as_plain(value: object) -> Json:
    """A setting's value as JSON; of a secret only whether there is one."""
    if isinstance(value, SecretStr):
        return REDACTED
    if isinstance(value, tuple):
        return [as_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else cast(Json, value)
