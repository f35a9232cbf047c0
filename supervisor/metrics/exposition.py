"""The run's figures for Prometheus: under the founding document's names, and under our own for a run of months.

Labels are targets and the closed lists of `contract`, so there are never more rows than those. Counters come from the
lines alone: after a restart they go on where they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from supervisor.clock import unix_s
from supervisor.contract import Outcome, Reason, Status, Waiting
from supervisor.metrics.figures import Figures
from supervisor.state import State, TargetState
from supervisor.totals import BOUNDS_S, LESSON_OUTCOMES

Reading = float | None
_OF_TARGETS: tuple[tuple[str, str, Callable[[TargetState], Reading]], ...] = (
    ("win_rate", "Of the incumbent, on fresh games at its level.", lambda target: target.pool.rate),
    ("win_rate_games", "Fresh games that the win rate rests on.", lambda target: target.pool.games),
    ("level", "Of the opponent in the next trial.", lambda target: target.next_level),
    (
        "iterations_since_promotion",
        "The target's iterations since its incumbent changed.",
        lambda target: target.search.since_promotion,
    ),
    (
        "version_iteration",
        "The iteration that made the incumbent, 42 of v000042.",
        lambda target: target.incumbent.iteration if target.incumbent else None,
    ),
)


class RunMetrics(Collector):
    """Looks at the latest figures when it is asked; opens no file, holds no lock."""

    def __init__(self, latest: Callable[[], Figures]) -> None:
        self._latest = latest
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """In Prometheus's text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        figures = self._latest()
        yield from _founding(figures)
        yield from _lines(figures)
        yield from _learning(figures)
        yield from _targets(figures)
        yield from _now(figures)


def _founding(figures: Figures) -> Iterator[Metric]:
    """What the founding document names."""
    state, totals = figures.state, figures.state.totals
    kept = [totals.target(key) for key in figures.targets]
    prefix = "ml_continuous_training"
    yield CounterMetricFamily(
        f"{prefix}_cycles",
        "Cycles of the continuous training; of a run that never had one, iterations.",
        state.cycle or state.iteration,
    )
    yield CounterMetricFamily(
        f"{prefix}_models_trained", "Trials that yielded a candidate.", sum(target.candidates for target in kept)
    )
    yield CounterMetricFamily(
        f"{prefix}_models_deployed", "Versions that went into production.", sum(target.promotions for target in kept)
    )
    back = sum(len(state.target(key).rolled_back) for key in figures.targets)
    yield CounterMetricFamily(f"{prefix}_rollbacks", "Versions taken out of production for good.", back)
    named = [f"{bound:g}" for bound in BOUNDS_S] + ["+Inf"]
    took = HistogramMetricFamily(f"{prefix}_iteration_duration_seconds", "Of the iterations' trials, games included.")
    took.add_metric(
        [], list(zip(named, accumulate(totals.time.durations), strict=True)), sum(totals.time.trial_s.values())
    )
    yield took
    yield _by_target(
        figures,
        "ml_model_improvement_delta",
        "Score of the last candidate less its incumbent's, on its first games.",
        lambda key: totals.target(key).delta,
    )


def _lines(figures: Figures) -> Iterator[Metric]:
    """What the lines add up to."""
    state, totals = figures.state, figures.state.totals
    statuses = CounterMetricFamily("incumbent_iterations", "By how the trial ended.", labels=["target", "status"])
    tests = CounterMetricFamily("incumbent_tests", "Paired tests by their outcome.", labels=["target", "outcome"])
    promotions = CounterMetricFamily(
        "incumbent_promotions", "First versions, proven ones, those by hand.", labels=["target"]
    )
    seconds = CounterMetricFamily("incumbent_trial_seconds", "That the trials took.", labels=["target"])
    for key in figures.targets:
        target = totals.target(key)
        for status in Status:
            statuses.add_metric([key, status], target.statuses.get(status, 0))
        for outcome in Outcome:
            tests.add_metric([key, outcome], target.outcomes.get(outcome, 0))
        promotions.add_metric([key], target.promotions)
        seconds.add_metric([key], totals.time.trial_s.get(key, 0.0))
    reasons = CounterMetricFamily("incumbent_reasons", "Iterations by the reason of their line.", labels=["reason"])
    for reason in Reason:
        reasons.add_metric([reason], totals.reasons.get(reason, 0))
    yield from (statuses, reasons, tests, promotions, seconds)
    yield CounterMetricFamily("incumbent_games", "Games of any side in all iterations.", state.total_games)
    yield GaugeMetricFamily("incumbent_iteration", "The last committed one.", state.iteration)
    failed = totals.failed_in_a_row
    yield GaugeMetricFamily("incumbent_failed_in_a_row", "Trials since the last that ended well.", failed)


def _learning(figures: Figures) -> Iterator[Metric]:
    """What was played, and what became of it."""
    rows = CounterMetricFamily(
        "incumbent_experiences_learnt", "New ones in trainings that came to their end.", labels=["target"]
    )
    lessons = CounterMetricFamily(
        "incumbent_lessons", "Trials that learnt from play, by what became of them.", labels=["target", "outcome"]
    )
    for key in figures.targets:
        target = figures.state.totals.target(key)
        rows.add_metric([key], target.learnt_rows)
        for outcome in LESSON_OUTCOMES:
            lessons.add_metric([key, outcome], target.lessons.get(outcome, 0))
    yield from (rows, lessons)
    yield GaugeMetricFamily("incumbent_cycle", "The last look for new experiences that got an answer.", figures.cycle)
    yield GaugeMetricFamily(
        "incumbent_store_up", "0 while the experience store does not answer the run.", float(figures.store_up)
    )


def _targets(figures: Figures) -> Iterator[Metric]:
    """Where each target stands."""
    for name, says, read in _OF_TARGETS:
        yield _by_target(figures, f"incumbent_{name}", says, _of(figures.state, read))
    yield _by_target(
        figures,
        "incumbent_promotion_gain",
        "Of the last proven promotion, in score per game, on games that did not decide it.",
        lambda key: figures.state.totals.target(key).gain,
    )


def _now(figures: Figures) -> Iterator[Metric]:
    """What goes on at this moment, and whether anything does."""
    yield GaugeMetricFamily("incumbent_trials_running", "Trials with a process.", figures.running)
    yield GaugeMetricFamily("incumbent_workers", "Trials that may run at a time.", figures.workers)
    waiting = GaugeMetricFamily("incumbent_waiting", "1 for what keeps new trials from beginning.", labels=["reason"])
    for reason in Waiting:
        waiting.add_metric([reason], float(figures.waiting is reason))
    yield waiting
    yield GaugeMetricFamily("incumbent_paused", "1 where somebody paused it.", float(figures.waiting is Waiting.PAUSED))
    for name, says, value in (
        (
            "last_commit_timestamp_seconds",
            "When the last line was written.",
            unix_s(figures.state.totals.time.last_commit),
        ),
        ("last_turn_timestamp_seconds", "When the loop was last seen; a turn takes a second.", figures.turned_s),
        ("start_timestamp_seconds", "When this process began.", figures.started_s),
        ("disk_free_bytes", "On the run folder's disk.", figures.free_disk_bytes),
        ("log_bytes", "Of training_log.jsonl, without what was rotated away.", figures.log_bytes),
    ):
        if value is not None:
            yield GaugeMetricFamily(f"incumbent_{name}", says, value)


def _of(state: State, read: Callable[[TargetState], Reading]) -> Callable[[str], Reading]:
    return lambda key: read(state.target(key))


def _by_target(figures: Figures, name: str, says: str, read: Callable[[str], Reading]) -> Metric:
    """A row per target that has the figure already."""
    family = GaugeMetricFamily(name, says, labels=["target"])
    for key in figures.targets:
        value = read(key)
        if value is not None:
            family.add_metric([key], value)
    return family
