"""The watches, the reported outcomes and the shadows, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from supervisor.serving.served import Served, Slot


def watch_metrics(live: Sequence[tuple[Slot, Served]]) -> Iterator[Metric]:
    """Of each target's live version; its last watch as long as it is about that version or took one out for it."""
    labels = ["target", "version"]
    told = CounterMetricFamily("incumbent_outcomes", "Games that clients reported.", labels=labels)
    score = GaugeMetricFamily("incumbent_outcome_score_mean", "Mean score of the games reported.", labels=labels)
    watched = GaugeMetricFamily("incumbent_watched", "1 while the version is watched.", labels=labels)
    pairs = GaugeMetricFamily("incumbent_watch_pairs", "Pairs of games of the last watch.", labels=labels)
    evidence = GaugeMetricFamily("incumbent_watch_evidence", "Against the version; 1/alpha proves.", labels=labels)
    loss = GaugeMetricFamily("incumbent_watch_loss", "Score per game lost to the version before.", labels=labels)
    faults = GaugeMetricFamily("incumbent_watch_faults", "Answers the version before gave instead.", labels=labels)
    shown = CounterMetricFamily("incumbent_shadow_requests", "Requests shown to a version.", labels=labels)
    failed = CounterMetricFamily("incumbent_shadow_failures", "Of them, those that it failed.", labels=labels)
    alike = GaugeMetricFamily("incumbent_shadow_agreement", "Share of choices like the live version's.", labels=labels)
    for slot, served in live:
        own = [slot.target, served.version.name]
        told.add_metric(own, served.outcomes.n)
        if served.outcomes.mean is not None:
            score.add_metric(own, served.outcomes.mean)
        if slot.watching is not None:
            about, window = [slot.target, slot.watching.opened.new], slot.watching.window
            watched.add_metric(about, float(window.is_open))
            pairs.add_metric(about, window.n_pairs)
            evidence.add_metric(about, window.evidence)
            faults.add_metric(about, len(window.faults))
            if window.loss is not None:
                loss.add_metric(about, window.loss)
        if served.shadow is not None:
            candidate, seen = [slot.target, served.shadow.candidate.version.name], served.shadow.seen
            shown.add_metric(candidate, seen.requests + seen.failed)
            failed.add_metric(candidate, seen.failed)
            if seen.acted:
                alike.add_metric(candidate, seen.alike / seen.acted)
    yield from (told, score, watched, pairs, evidence, loss, faults, shown, failed, alike)
