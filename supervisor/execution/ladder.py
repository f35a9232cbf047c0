"""When a trial is asked to leave, told to, and made to. Pure: the clock's reading is an argument.

Rungs: a file `stop` (ask), SIGTERM (tell), SIGKILL (make). They are climbed in this order and never down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Cause(StrEnum):
    """Why a trial has to leave."""

    STOP = "stop"
    WALL_TIME = "wall_time"
    GPU_TIME = "gpu_time"
    HUNG = "hung"
    OUT_OF_MEMORY = "out_of_memory"


class Act(StrEnum):
    """What to do now."""

    NOTHING = "nothing"
    ASK = "ask"
    TERMINATE = "terminate"
    KILL = "kill"


@dataclass(frozen=True)
class Patience:
    """How long each rung is given."""

    ask_s: float = 15.0  # asked -> SIGTERM
    terminate_s: float = 5.0  # SIGTERM -> SIGKILL
    urgent_s: float = 2.0  # SIGTERM -> SIGKILL when it is urgent
    hung_s: float = 120.0  # without a heartbeat


@dataclass(frozen=True)
class Sighting:
    """One look at a running trial. Times are of one monotonic clock."""

    now_s: float
    started_s: float
    beat_s: float  # when the heartbeat was last seen to change, `started_s` before the first
    wall_s: float
    ram_mb: int
    ram_limit_mb: int
    vram_mb: int = 0
    vram_limit_mb: int | None = None  # None: no GPU
    gpu_s: float = 0.0
    gpu_limit_s: float | None = None
    stop: bool = False  # the supervisor wants it to leave
    urgent: bool = False


@dataclass(frozen=True)
class Rungs:
    """How far up this trial is."""

    cause: Cause | None = None
    reason: str = ""
    asked_s: float | None = None
    terminated_s: float | None = None
    killed: bool = False


def climb(rungs: Rungs, sighting: Sighting, patience: Patience) -> tuple[Rungs, Act]:
    """The next rung, if it is time for one, and what to do on it; at most one rung at a call."""
    if rungs.killed:
        return rungs, Act.NOTHING
    if reason := _greed(sighting):
        return replace(rungs, cause=Cause.OUT_OF_MEMORY, reason=reason, killed=True), Act.KILL
    if rungs.cause is None:
        cause, reason = _cause(sighting, patience)
        if cause is None:
            return rungs, Act.NOTHING
        rungs = replace(rungs, cause=cause, reason=reason)
    return _next_rung(rungs, sighting, patience)


def _greed(sighting: Sighting) -> str:
    """What it takes that belongs to others; empty where it keeps to its budget."""
    if sighting.ram_mb > sighting.ram_limit_mb:
        return f"it used {sighting.ram_mb} MB of memory where {sighting.ram_limit_mb} MB are allowed"
    if sighting.vram_limit_mb is not None and sighting.vram_mb > sighting.vram_limit_mb:
        return f"it used {sighting.vram_mb} MB of the GPU's memory where {sighting.vram_limit_mb} MB are allowed"
    return ""


def _cause(sighting: Sighting, patience: Patience) -> tuple[Cause | None, str]:
    if sighting.stop or sighting.urgent:
        return Cause.STOP, "it was asked to stop"
    ran_s = sighting.now_s - sighting.started_s
    if ran_s > sighting.wall_s:
        return Cause.WALL_TIME, f"it ran {ran_s:.0f} s where {sighting.wall_s:.0f} s are allowed"
    if sighting.gpu_limit_s is not None and sighting.gpu_s > sighting.gpu_limit_s:
        return (
            Cause.GPU_TIME,
            f"it held the GPU for {sighting.gpu_s:.0f} s where {sighting.gpu_limit_s:.0f} s are allowed",
        )
    silent_s = sighting.now_s - sighting.beat_s
    if silent_s > patience.hung_s:
        return Cause.HUNG, f"it gave no sign of life for {silent_s:.0f} s"
    return None, ""


def _next_rung(rungs: Rungs, sighting: Sighting, patience: Patience) -> tuple[Rungs, Act]:
    now_s = sighting.now_s
    skip_asking = sighting.urgent or rungs.cause is Cause.HUNG
    if rungs.terminated_s is not None:
        grace_s = patience.urgent_s if sighting.urgent else patience.terminate_s
        if now_s - rungs.terminated_s >= grace_s:
            return replace(rungs, killed=True), Act.KILL
        return rungs, Act.NOTHING
    if skip_asking or (rungs.asked_s is not None and now_s - rungs.asked_s >= patience.ask_s):
        return replace(rungs, terminated_s=now_s), Act.TERMINATE
    if rungs.asked_s is None:
        return replace(rungs, asked_s=now_s), Act.ASK
    return rungs, Act.NOTHING
