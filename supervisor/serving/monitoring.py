"""What `/models` says of the watch over a live version."""

from __future__ import annotations

import time

from supervisor.contract import Json, as_json
from supervisor.serving.options import WatchOptions
from supervisor.serving.served import Slot
from supervisor.serving.tally import Tally
from supervisor.serving.watch import Watching
from supervisor.serving.window import Window

WITHOUT_OUTCOMES = "no outcomes of both versions: only hard faults (errors, NaN, latency) roll back"
UNLIKE = "the two versions take other inputs or outputs: they are not compared, and nothing rolls back by itself"
NEVER = "nothing went live before it while this server ran: there is nothing to compare it with"
SWITCHED_OFF = "watch.enabled is false"
TOLD_ONLY = "watch.rollback_on_degradation is false: nothing is rolled back"


def monitoring(slot: Slot, options: WatchOptions) -> dict[str, Json]:
    """`state` is one of `window.Verdict`, or `off`."""
    own = slot.live.outcomes if slot.live else Tally()
    outcomes: dict[str, Json] = {"outcomes": own.n, "mean_score": own.mean}
    baseline: Json = as_json(slot.baseline) if slot.baseline else None
    watching = slot.watching
    if not options.enabled or watching is None or slot.live is None:
        note = NEVER if options.enabled else SWITCHED_OFF
        return {"state": "off", "note": note, **outcomes, "baseline": baseline}
    return {"state": watching.window.verdict.value, **_watch(watching, options), **outcomes, "baseline": baseline}


def _watch(watching: Watching, options: WatchOptions) -> dict[str, Json]:
    window, opened = watching.window, watching.opened
    return {
        "note": _note(watching, options),
        "version": opened.new,
        "against": opened.old,
        "since": opened.at,
        "elapsed_s": round(watching.elapsed_s(time.monotonic()), 1),
        "window_s": options.window_s,
        "mode": "canary" if opened.is_canary else "holdback",
        "share": options.share_new,
        "pairs": window.n_pairs,
        "loss": window.loss,
        "evidence": window.evidence,
        "needed": 1 / options.alpha,
        "interval": _interval(window),
        "before": {"outcomes": window.old.n, "mean_score": window.old.mean},
        "after": {"outcomes": window.new.n, "mean_score": window.new.mean},
        "faults": len(window.faults),
        "timed": watching.timed,
        "last_fault": window.faults[-1] if window.faults else None,
    }


def _note(watching: Watching, options: WatchOptions) -> str | None:
    window = watching.window
    notes = [] if options.rollback_on_degradation else [TOLD_ONLY]
    if window.is_open and not watching.is_compared:
        notes.append(UNLIKE)
    elif window.is_open and not (window.new.n and window.old.n):
        notes.append(WITHOUT_OUTCOMES)
    return "; ".join(notes) or None


def _interval(window: Window) -> list[Json] | None:
    """Of the loss, once the test is over."""
    decision = window.decision
    return None if decision is None else [decision.ci_low, decision.ci_high]
