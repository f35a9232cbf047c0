"""What a person reads while it runs: one line per iteration, on the console and in `training_YYYYMMDD_HHMMSS.log`."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from supervisor.contract import Outcome, Reason, Status, Version, Waiting
from supervisor.record import Record
from supervisor.state import State

WORDS = {
    Reason.BASELINE: "first incumbent",
    Reason.NO_INCUMBENT: "begun before there was an incumbent, kept for the search",
    Reason.PROVEN: "PROMOTED",
    Reason.BELOW_SCREEN: "rejected after the screen",
    Reason.NOT_CONFIRMED: "kept for the search",
    Reason.FUTILE: "rejected by the paired test",
    Reason.PAIRS_EXHAUSTED: "no verdict, the incumbent stays",
    Reason.TIME_EXHAUSTED: "no verdict in time, the incumbent stays",
    Reason.AWAITING_OPERATOR: "proven, waits for incumbent promote",
    Reason.SAME_VERSION: "the same as the incumbent",
    Reason.INCUMBENT_GONE: "refused: the incumbent changed meanwhile",
    Reason.ROLLED_BACK: "refused: it was rolled back and never comes back",
    Reason.UNKNOWN_VERSION: "refused: no such version",
    Reason.FILE_GONE: "refused: its model file is gone (run.retention_versions)",
    Reason.MANUAL_PROMOTION: "promoted by the operator",
    Reason.MANUAL_ROLLBACK: "rolled back by the operator",
    Reason.DEGRADED: "rolled back by the server, it did worse in production",
    Reason.HARD_FAULT: "rolled back by the server after a fault",
}

WAITING = {
    Waiting.PAUSED: "paused",
    Waiting.RESOURCES: "waiting for resources",
    Waiting.GPU_HOURS: "waiting for the next day's GPU-hours",
    Waiting.GPU: "waiting for a GPU",
    Waiting.BACK_OFF: "backing off",
    Waiting.DISK: "disk full",
    Waiting.EXPERIENCES: "waiting for experiences to learn from",
}


class Console:
    """Writes lines with the time to a stream and to the start's own log file."""

    def __init__(self, log_path: Path | None, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self.log_path = log_path

    def say(self, text: str) -> None:
        line = f"{time.strftime('%H:%M:%S')}  {text}\n"
        _write(self._stream, line)
        if self.log_path is not None:
            with contextlib.suppress(OSError), self.log_path.open("a", encoding="utf-8") as log:
                log.write(line)  # opened for each line: somebody may have rotated or compressed the file


def _write(stream: TextIO, line: str) -> None:
    """A console that went away (a closed terminal, a full disk) must not end the run."""
    try:
        stream.write(line)
        stream.flush()
    except (OSError, ValueError):
        return


def log_name(now: time.struct_time) -> str:
    return time.strftime("training_%Y%m%d_%H%M%S.log", now)


def percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.1f} %"


def resumed_line(state: State) -> str:
    """The first line after a restart."""
    return f"Resumed from checkpoint: {position(state)}"


def standing(state: State, waiting: Waiting | None) -> str:
    """The service manager's line of status."""
    return f"{WAITING[waiting]}; {position(state)}" if waiting else position(state)


def position(state: State) -> str:
    """Where the run stands, and how good its best target is."""
    best = state.best_target()
    if best is None:
        return f"iteration {state.iteration}, no win rate measured yet"
    target = state.target(best)
    version = target.incumbent.name if target.incumbent else "none"
    return f"iteration {state.iteration}, best win rate {percent(target.pool.rate)} ({best} {version})"


def line_for_people(record: Record) -> str:
    """One iteration in one line."""
    parts = [f"#{record.iteration:<5d} {record.target}", record.sampler]
    if record.status is Status.COMPLETE and record.win_rate is not None:
        parts.append(f"win {percent(record.win_rate)}")
    if record.delta is not None:
        parts.append(f"against incumbent {100 * record.delta:+.1f}")
    if record.lesson is not None:
        parts.append(f"{record.lesson.rows:,} experiences")
    parts.append(outcome_for_people(record))
    if record.next_level > record.level:
        parts.append(f"level {record.level} -> {record.next_level}")
    if record.best_win_rate is not None:
        parts.append(f"best {percent(record.best_win_rate)}")
    parts.append(_cost(record))
    return "  ".join(part for part in parts if part)


def outcome_for_people(record: Record) -> str:
    """What became of the candidate, in a few words."""
    decision = record.decision
    text = WORDS.get(record.reason, str(record.reason).replace("_", " "))
    if record.status is not Status.COMPLETE:
        return f"{record.status}: {text}"
    if record.rollbacks and not record.goes_back:
        return f"{', '.join(record.rollbacks)} never comes back; the incumbent stays"
    if decision.rule == "paired_e":
        effect = "" if decision.effect is None else f", gain {100 * decision.effect:+.1f}"
        text = f"{text} ({decision.n_pairs} pairs{effect})"
    if decision.outcome is Outcome.PROMOTE and record.version:
        text = WORDS[Reason.BASELINE] if record.reason is Reason.NO_INCUMBENT else text
        return f"{text} -> {record.version}"
    return text


def rollback_for_people(record: Record, incumbent: Version | None) -> str:
    """What a line with rollbacks means for production, as an event says it. `incumbent` is the target's after it."""
    names = ", ".join(record.rollbacks)
    why = str(record.time.get("detail") or "rolled back by the operator")
    if not record.goes_back:
        now = f"{incumbent.name} is in production" if incumbent else "nothing is in production"
        return f"{names} of {record.target}: {why}; {now} already, and {names} never comes back"
    now = f"{incumbent.name} is in production again" if incumbent else "nothing is in production any more"
    return f"{names} of {record.target}: {why}; {now}, and {names} never comes back"


def _cost(record: Record) -> str:
    seconds, rate = record.time.get("duration_s"), record.time.get("games_per_s")
    text = f"{seconds:.1f} s" if isinstance(seconds, int | float) else ""
    return f"{text}, {rate:.0f} games/s" if isinstance(rate, int | float) and record.games else text


def announce_to(say: Callable[[str], None]) -> Callable[[str], None]:
    """Events on the console, set apart from iterations."""
    return lambda text: say(f"-- {text}")
