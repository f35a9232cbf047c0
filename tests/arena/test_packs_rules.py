"""What orders do in a pack fight. Fights are set up by changing a saved state and loading it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.pack_play import win_rate
from trainers.arena.packs.arena import PackArena, PackStep
from trainers.arena.packs.observation import BARS, FOE, FOES_FROM
from trainers.arena.packs.rules import (
    ASSIST,
    CHALLENGE,
    GUARD,
    NEAREST,
    OURS,
    POWER,
    PRESS,
    REGROUP,
    RETREAT,
    TEND,
    THEIRS,
    WEAKEST,
)
from trainers.arena.packs.script import Drill
from trainers.arena.packs.state import GUARDED, HEALTH, HELD, WINDUP, X, Y
from trainers.arena.rewards import effective_weights

State = dict[str, NDArray[np.generic]]
IDLE = Drill(reaction=0, dither=1, focus=0)
"""Foes that stand there."""


def fight(
    change: Callable[[State], None],
    archetype: str = "aggressive",
    drill: Drill = IDLE,
    rewards: Mapping[str, float] | None = None,
) -> PackArena:
    """One fight whose members stand in a column at x = 4, its foes at x = 20, five steps from each other."""
    arena = PackArena(1, archetype, 3, 1.0, rewards, drill=drill, reopen=False)
    arena.start([1])
    state: State = arena.state()
    body = state["body"]
    body[X, OURS], body[X, THEIRS] = 4, 20
    body[Y] = (np.arange(5) * 5 + 2)[None, :, None]
    change(state)
    arena.load_state(state)
    return arena


def give(arena: PackArena, *orders: int) -> PackStep:
    told = [*orders, *[REGROUP] * (5 - len(orders))]
    return arena.step(np.array([told], np.int64))


def nothing(state: State) -> None: ...


def test_who_is_told_to_goes_after_the_nearest_the_weakest_or_whom_most_mates_are_after() -> None:
    def change(state: State) -> None:
        state["body"][HEALTH, THEIRS, 3] = 20
        state["aim"][OURS, :, 0] = [4, 4, 1, 1, 4]

    arena = fight(change)
    give(arena, NEAREST, WEAKEST, ASSIST, PRESS)
    assert arena.state()["aim"][OURS, :4, 0].tolist() == [0, 3, 4, 1]


def test_who_is_after_a_fallen_foe_turns_to_the_nearest_that_stands() -> None:
    def change(state: State) -> None:
        state["body"][HEALTH, THEIRS, 2] = 0
        state["aim"][OURS, :, 0] = 2

    arena = fight(change)
    give(arena, PRESS)
    assert arena.state()["aim"][OURS, 0, 0] == 0


def close(state: State) -> None:
    """Member 0 and foe 0 stand next to each other."""
    state["body"][X, THEIRS, 0] = 5


def test_a_strike_out_of_reach_is_a_way_there_and_in_reach_a_blow() -> None:
    arena = fight(nothing)
    give(arena, NEAREST)
    body = arena.state()["body"]
    assert body[X, OURS, 0, 0] == pytest.approx(4 + 3 * 1.0, abs=0.01)
    assert body[HEALTH, THEIRS, 0, 0] == 180
    struck = fight(close)
    give(struck, NEAREST)
    assert struck.state()["body"][HEALTH, THEIRS, 0, 0] < 180 - 3 * 7


def test_a_heavy_blow_goes_off_a_tick_later_and_outdoes_a_strike_but_not_while_it_cools() -> None:
    harm = []
    for order in (NEAREST, POWER):
        arena = fight(close)
        give(arena, order)
        harm.append(180 - float(arena.state()["body"][HEALTH, THEIRS, 0, 0]))
    assert harm[1] > 1.2 * harm[0]
    again = fight(close)
    give(again, POWER)
    assert again.observation[0, 0, BARS[POWER]] > 0
    left = float(again.state()["body"][HEALTH, THEIRS, 0, 0])
    give(again, POWER)
    assert left - float(again.state()["body"][HEALTH, THEIRS, 0, 0]) < 1.2 * harm[0], "it struck instead"


def test_a_guard_takes_blows_meant_for_a_mate_beside_it() -> None:
    def change(state: State) -> None:
        body = state["body"]
        body[Y, OURS, 1] = 3  # beside member 0
        body[X, THEIRS, 0] = 5
        state["aim"][THEIRS, :, 0] = 0

    press = Drill(reaction=0, dither=0, focus=0, restless=0, power=0, challenge=0, tend=0)
    taken = []
    for order in (REGROUP, GUARD):
        arena = fight(change, "tank", press)
        give(arena, REGROUP, order, PRESS, PRESS, PRESS)
        health = arena.state()["body"][HEALTH, OURS, :, 0]
        taken.append((150 - health).tolist())
    assert taken[0][1] == 0
    assert 0 < taken[1][1] < taken[0][0]
    assert taken[1][0] < taken[0][0]


def test_caught_blows_are_paid_to_the_guard() -> None:
    def change(state: State) -> None:
        state["body"][Y, OURS, 1] = 3
        state["body"][X, THEIRS, 0] = 5
        state["aim"][THEIRS, :, 0] = 0

    press = Drill(reaction=0, dither=0, focus=0, restless=0, power=0, challenge=0, tend=0)
    zero = {f"reward.{name}": 0.0 for name in ("survival_time", "damage_blocked", "survival_bonus")}
    arena = fight(change, "defensive", press, effective_weights("defensive", zero))
    reward = give(arena, REGROUP, GUARD, PRESS, PRESS, PRESS).reward[0]
    assert reward[1] == pytest.approx(0.2 * 1.2 * 2, rel=0.01), "two ticks of guard caught two blows"
    assert not reward[[0, 2, 3, 4]].any()


def test_care_goes_to_the_mate_in_greatest_need_within_reach() -> None:
    def change(state: State) -> None:
        state["body"][HEALTH, OURS, :, 0] = [90, 30, 95, 95, 10]

    arena = fight(change, "support")
    give(arena, TEND)
    health = arena.state()["body"][HEALTH, OURS, :, 0]
    assert health.tolist() == pytest.approx([90, 30 + 1.6 * 36, 95, 95, 10]), "the weakest is too far away"


def test_a_challenge_stuns_the_one_who_is_after_the_weakest_mate_and_binds_it() -> None:
    def change(state: State) -> None:
        body = state["body"]
        body[HEALTH, OURS, 3] = 20
        body[X, THEIRS, 1], body[Y, THEIRS, 1] = 5, 3
        body[WINDUP, THEIRS, 1] = 9
        state["aim"][THEIRS, :, 0] = [0, 3, 0, 0, 0]

    arena = fight(change)
    told = np.array([[CHALLENGE, REGROUP, REGROUP, REGROUP, REGROUP]], np.int64)
    arena.step(told)
    state = arena.state()
    assert state["aim"][THEIRS, 1, 0] == 0
    assert state["body"][HELD, THEIRS, 1, 0] > 0
    assert state["body"][WINDUP, THEIRS, 1, 0] == 0, "what it was winding up is broken off"
    assert state["body"][HEALTH, THEIRS, 1, 0] < 130


def test_retreat_draws_away_and_regroup_goes_to_the_middle() -> None:
    def change(state: State) -> None:
        state["body"][X, OURS] = 12

    arena = fight(change)
    give(arena, RETREAT)
    body = arena.state()["body"]
    assert body[X, OURS, 0, 0] < 12
    assert body[Y, OURS, 4, 0] < 22
    assert body[GUARDED, OURS].sum() == 0


def test_orders_that_are_out_of_the_question_are_marked_so() -> None:
    seen = fight(nothing).observation[0, 0]
    barred = {order for order, column in BARS.items() if seen[column] > 0}
    assert barred == {POWER, TEND, CHALLENGE}, "nobody is in reach, nobody is hurt"
    near = fight(close).observation[0, 0]
    assert {order for order, column in BARS.items() if near[column] > 0} == {TEND}


def test_a_fallen_member_sees_nothing_and_gives_no_orders() -> None:
    def change(state: State) -> None:
        close(state)
        state["body"][HEALTH, OURS, 0] = 0

    arena = fight(change)
    assert not arena.observation[0, 0].any()
    assert arena.observation[0, 1].any()
    give(arena, NEAREST)
    assert arena.state()["body"][HEALTH, THEIRS, 0, 0] == 180


def test_in_a_smaller_pack_the_places_of_the_others_stay_empty() -> None:
    arena = PackArena(1, "mage", 1, 1.0, pack_size=3)
    observation = arena.start([5])
    assert observation.shape == (1, 3, 64)
    assert observation[0, :, FOES_FROM : FOES_FROM + 3 * FOE].any(1).all()
    assert not observation[0, :, FOES_FROM + 3 * FOE : FOES_FROM + 5 * FOE].any()


def test_what_a_team_term_brings_is_shared_and_other_terms_are_not() -> None:
    def change(state: State) -> None:
        state["body"][HEALTH, OURS, :, 0] = [20, 95, 95, 95, 95]

    own = {"reward.effective_healing": 0.0, "reward.buffs_applied": 0.0, "reward.allies_died": 0.0}
    alone = give(fight(change, "support", rewards=effective_weights("support", own)), REGROUP, TEND).reward[0]
    assert alone[1] > 0
    assert not alone[[0, 2, 3, 4]].any()
    team = {"reward.healing_done": 0.0, "reward.buffs_applied": 0.0, "reward.allies_died": 0.0}
    shared = give(fight(change, "support", rewards=effective_weights("support", team)), REGROUP, TEND).reward[0]
    assert shared[0] > 0
    assert (shared == shared[0]).all()


def test_a_member_that_varies_its_orders_with_what_it_sees_beats_any_one_order() -> None:
    def rule(observation: NDArray[np.float32]) -> NDArray[np.int64]:
        told = np.full(observation.shape[:2], ASSIST, np.int64)
        for order in (GUARD, CHALLENGE, POWER, TEND):
            told[observation[:, :, BARS[order]] == 0] = order
        return told

    steady = max(win_rate(order, "aggressive", 0.75, 64) for order in (NEAREST, ASSIST, GUARD, TEND))
    assert win_rate(rule, "aggressive", 0.75, 64) > steady + 0.2


def test_orders_that_do_not_exist_are_refused() -> None:
    arena = PackArena(2, "tank", 1, 1.0)
    arena.start([1, 2])
    with pytest.raises(ValueError, match="orders must be 2 x 5 integers from 0 to 9"):
        arena.step(np.full((2, 5), 10, np.int64))
    with pytest.raises(ValueError, match="orders must be"):
        arena.step(np.zeros((2, 4), np.int64))


def test_packs_and_archetypes_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="a pack has 2 to 5 members, not 6"):
        PackArena(1, "tank", 1, 1.0, pack_size=6)
    with pytest.raises(ValueError, match="archetype 'rogue' does not exist"):
        PackArena(1, "rogue", 1, 1.0)
