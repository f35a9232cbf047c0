from __future__ import annotations

import numpy as np

from trainers.arena.arena import Arena
from trainers.arena.fights import HEALTH, MANA, WINDUP
from trainers.arena.observation import COOLING
from trainers.arena.partial import PARTIAL_WIDTH, partial
from trainers.arena.rules import FOE, HEAL, HEAVY, SPELL


def looking(archetype: str = "tank") -> Arena:
    arena = Arena(4, archetype, 3, reopen=False)
    arena.start(np.arange(4))
    return arena


def with_foe(arena: Arena, **changes: object) -> np.ndarray:
    state = arena.state()
    for name, value in changes.items():
        if name == "mana":
            state["body"][MANA, FOE] = value
        elif name == "health":
            state["body"][HEALTH, FOE] = value
        elif name == "windup":
            state["body"][WINDUP, FOE] = value
        elif name == "readied":
            state["readied"][FOE] = value
        elif name == "cooldowns":
            state["ready"][FOE, list(COOLING)] = value
        else:
            state["threat"][0] = value
    arena.load_state(state)
    return partial(arena.observation)


def test_a_foes_mana_cooldowns_and_mind_are_never_seen_but_its_health_is() -> None:
    arena = looking()
    before = with_foe(arena)
    assert before.shape == (4, PARTIAL_WIDTH)
    for hidden in ("mana", "cooldowns", "threat"):
        np.testing.assert_array_equal(with_foe(looking(), **{hidden: 3.0}), before)
    assert (with_foe(looking(), health=3.0) != before).any()


def test_a_wound_up_blow_is_seen_in_its_first_tick_and_then_has_to_be_remembered() -> None:
    resting = with_foe(looking())
    seen = [with_foe(looking(), readied=kind, windup=ticks) for kind, ticks in ((HEAVY, 2), (SPELL, 2), (HEAL, 1))]
    for one in seen:
        assert (one != resting).any()
    assert (seen[0] != seen[1]).any()
    for kind in (HEAVY, SPELL):
        np.testing.assert_array_equal(with_foe(looking(), readied=kind, windup=1), resting)
