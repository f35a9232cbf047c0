"""Which level of the opponent a target is searched at: it rises when the incumbent has outgrown it. Pure.

A line says at which level the iterations proposed after it play, so the level is part of the state and follows from
the lines alone; it never falls. Rates of different levels are never compared: at a new level the incumbent is measured
again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from supervisor.config.settings import CurriculumSettings
from supervisor.contract import Tally
from supervisor.state import TargetState


@dataclass(frozen=True)
class Step:
    """The level for what is proposed next, and why it is another one than this line's; no reason where it is not."""

    level: int
    reason: str = ""


def step_after(
    settings: CurriculumSettings, level: int, due: int, highest: int, pool: Tally, reward: float | None
) -> Step:
    """After a line that was played at `level`, while `due` was known to be next.

    `highest` is the opponent's last level, `pool` what measures the incumbent after the line, `reward` its mean in a
    game.
    """
    if due > level:
        return Step(due)  # decided by an earlier line, while this one was in flight
    if not settings.enabled or level < 1 or level >= min(highest, settings.num_levels):
        return Step(level)
    reason = _outgrown(settings, level, pool, reward)
    return Step(level + 1, reason) if reason else Step(level)


def level_now(target: TargetState, first: int) -> int:
    """At which level the next proposal plays; `first` is the level at which the target's search begins."""
    return max(first, target.next_level)


def at_level(target: TargetState, level: int) -> TargetState:
    """The target as one that is played at `level` sees it: what was measured at another level counts for nothing."""
    return target if level == target.level else replace(target, pool=Tally(), pools={})


def _outgrown(settings: CurriculumSettings, level: int, pool: Tally, reward: float | None) -> str:
    if settings.by == "reward":
        bound = settings.level_thresholds[level - 1]
        return f"a reward of {reward:.1f} reaches its {bound:g}" if reward is not None and reward >= bound else ""
    rate, bound = pool.rate, settings.win_rate_thresholds[level - 1]
    if rate is None or pool.games < settings.min_games or rate < bound:
        return ""
    return f"{100 * rate:.1f} % of {pool.games} games reach its {100 * bound:g} %"
