"""What the server has done, for Prometheus: under our own names, and under Triton's where its boards and alerts fit.

Labels are the models that are loaded and closed lists, and nothing that a client sends: there are no more rows than
those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from supervisor.experience.intake.intake import Intake
from supervisor.serving.batching import Batcher
from supervisor.serving.desk import Desk
from supervisor.serving.experience_metrics import experience_metrics
from supervisor.serving.served import LATENCY_BOUNDS_S, Counts, Served
from supervisor.serving.slots import Slots, oip_name
from supervisor.serving.watch_metrics import watch_metrics

_US = 1e6
_TRITON: tuple[tuple[str, str, Callable[[Counts], float]], ...] = (
    ("nv_inference_request_success", "Requests answered.", lambda counts: counts.answered),
    ("nv_inference_request_failure", "Requests that were let in and failed.", lambda counts: counts.failed),
    ("nv_inference_count", "Rows that were run.", lambda counts: counts.rows),
    ("nv_inference_exec_count", "Batches that were run.", lambda counts: counts.batches),
    ("nv_inference_request_duration_us", "Time of answered requests.", lambda counts: counts.total_s * _US),
    ("nv_inference_compute_infer_duration_us", "Time in the model.", lambda counts: counts.shared_run_s * _US),
    (
        "nv_inference_queue_duration_us",
        "Time that answered requests waited.",
        lambda counts: max(0.0, counts.total_s - counts.shared_run_s) * _US,
    ),
)


class ServerMetrics(Collector):
    """Looks at the counts when it is asked."""

    def __init__(
        self, slots: Slots, batcher: Batcher, desk: Desk, connections: Callable[[], int], intake: Intake
    ) -> None:
        self._slots, self._batcher, self._desk, self._connections = slots, batcher, desk, connections
        self._intake = intake
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """In Prometheus's text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        live = [(slot.target, slot.live) for slot in self._slots if slot.live is not None]
        loaded = GaugeMetricFamily(
            "incumbent_model_info", "The live version, in its label.", labels=["target", "version"]
        )
        for target, served in live:
            loaded.add_metric([target, served.version.name], 1)
        yield loaded
        refused = GaugeMetricFamily(
            "incumbent_reload_refused", "1 where the last reload was refused.", labels=["target"]
        )
        swaps = CounterMetricFamily("incumbent_swaps", "Versions that went live after the first.", labels=["target"])
        rollbacks = CounterMetricFamily("incumbent_rollbacks", "Versions rolled back here.", labels=["target"])
        for slot in self._slots:
            refused.add_metric([slot.target], float(slot.refusal is not None))
            swaps.add_metric([slot.target], slot.swaps)
            rollbacks.add_metric([slot.target], slot.rollbacks)
        yield from (refused, swaps, rollbacks)
        yield GaugeMetricFamily("incumbent_requests_waiting", "Inferences that wait to be run.", self._batcher.waiting)
        yield GaugeMetricFamily("incumbent_connections", "Open connections.", self._connections())
        full = CounterMetricFamily("incumbent_refused", "Answered 503: there was no room for it.", labels=["what"])
        full.add_metric(["request"], self._batcher.refused)
        full.add_metric(["connection"], self._desk.refused_connections)
        yield full
        yield from self._of_requests(live)
        yield from watch_metrics([(slot, slot.live) for slot in self._slots if slot.live is not None])
        yield from experience_metrics(self._intake.state)

    def _of_requests(self, live: list[tuple[str, Served]]) -> Iterator[Metric]:
        """Of the live version: they begin anew with it."""
        latency = HistogramMetricFamily(
            "incumbent_request_seconds", "From a request being read to its answer.", labels=["target", "version"]
        )
        for target, served in live:
            counts = served.counts
            named = [f"{bound:g}" for bound in LATENCY_BOUNDS_S] + ["+Inf"]
            latency.add_metric(
                [target, served.version.name],
                list(zip(named, accumulate(counts.latencies), strict=True)),
                counts.total_s,
            )
        yield latency
        for name, says, read in _TRITON:
            family = CounterMetricFamily(name, says, labels=["model", "version"])
            # as Triton names them, without the `_total` that the client library puts behind a counter
            rows = GaugeMetricFamily(name, says, labels=["model", "version"])
            rows.type = family.type
            for target, served in live:
                rows.add_metric([oip_name(target), served.version.name], read(served.counts))
            yield rows
