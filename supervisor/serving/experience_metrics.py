"""The intake of experiences, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from supervisor.experience.intake.refusals import SAYS
from supervisor.experience.intake.writer import Writer


def experience_metrics(writer: Writer) -> Iterator[Metric]:
    """Since the server's start; there are as many rows as reasons, whatever clients send."""
    counts = writer.counts
    quarantined = CounterMetricFamily(
        "incumbent_experiences_quarantined", "Rows that were no experiences, by why.", labels=["reason"]
    )
    for reason in SAYS:
        quarantined.add_metric([reason], counts.quarantined[reason])
    parcels = CounterMetricFamily("incumbent_experience_parcels", "Requests that brought rows.", labels=["result"])
    parcels.add_metric(["stored"], counts.parcels)
    parcels.add_metric(["repeated"], counts.repeated)
    yield CounterMetricFamily("incumbent_experiences", "Rows stored.", counts.rows)
    yield from (quarantined, parcels)
    yield GaugeMetricFamily("incumbent_experiences_waiting", "Rows that wait to be stored.", writer.waiting_rows)
    yield GaugeMetricFamily("incumbent_experience_store_up", "0 where it cannot be written.", writer.down is None)
    yield CounterMetricFamily("incumbent_experience_store_failures", "Times it went down.", counts.failures)
    yield CounterMetricFamily("incumbent_experience_commits", "Transactions.", counts.commits)
    yield CounterMetricFamily("incumbent_experience_commit_seconds", "Time they took.", counts.commit_s)
