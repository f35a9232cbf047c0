"""The intake of experiences, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from supervisor.experience.intake.messages import State
from supervisor.experience.intake.refusals import SAYS


def experience_metrics(state: State) -> Iterator[Metric]:
    """Since the process that takes them in began; there are as many rows as reasons, whatever clients send."""
    quarantined = CounterMetricFamily(
        "incumbent_experiences_quarantined", "Rows that were no experiences, by why.", labels=["reason"]
    )
    for reason in SAYS:
        quarantined.add_metric([reason], state.quarantined.get(reason, 0))
    parcels = CounterMetricFamily("incumbent_experience_parcels", "Requests that brought rows.", labels=["result"])
    parcels.add_metric(["stored"], state.parcels)
    parcels.add_metric(["repeated"], state.repeated)
    yield CounterMetricFamily("incumbent_experiences", "Rows stored.", state.rows)
    yield from (quarantined, parcels)
    yield GaugeMetricFamily("incumbent_experiences_waiting", "Rows that wait to be stored.", state.waiting_rows)
    yield GaugeMetricFamily("incumbent_experience_store_up", "0 where it cannot be written.", not state.is_down)
    yield CounterMetricFamily("incumbent_experience_store_failures", "Times it went down.", state.failures)
    yield CounterMetricFamily("incumbent_experience_commits", "Transactions.", state.commits)
    yield CounterMetricFamily("incumbent_experience_commit_seconds", "Time they took.", state.commit_s)
