"""Situations: what a member saw, and who hurt it afterwards."""

from __future__ import annotations

import numpy as np

from trainers.arena.packs.observation import FOE, FOES_FROM
from trainers.arena.packs.situations import NOBODY, Situations, situations
from trainers.arena.rewards import effective_weights

WEIGHTS = effective_weights("tank", {})


def drawn(first: int, count: int, whim: float = 0.1) -> Situations:
    return situations("tank", 3, whim, WEIGHTS, np.arange(first, first + count, dtype=np.uint64))


def test_a_situation_is_a_function_of_its_seed_whatever_it_is_drawn_with() -> None:
    together, alone = drawn(100, 9), drawn(104, 1)
    for name in ("observation", "threat", "stake", "standing", "nearest", "member"):
        assert getattr(together, name)[4].tobytes() == getattr(alone, name)[0].tobytes()
    assert (together.observation[0] != together.observation[1]).any()


def test_it_is_about_a_member_that_stands_and_every_answer_occurs() -> None:
    found = drawn(0, 400)
    assert found.standing[np.arange(400), found.member].all()
    observation, threat, nearest = found.chosen()
    assert observation.any(1).all()
    assert set(threat.tolist()) == {0, 1, 2, 3, 4, NOBODY}
    assert len(set(found.member.tolist())) == 5
    share = np.bincount(threat, minlength=6) / 400
    assert share.max() < 0.5, "no answer is right most of the time"
    distance = np.stack([np.hypot(observation[:, k + 1], observation[:, k + 2]) for k in _foes()], 1)
    standing = np.stack([observation[:, k] > 0 for k in _foes()], 1)
    assert (np.where(standing, distance, np.inf).argmin(1) == nearest).mean() > 0.99


def _foes() -> range:
    return range(FOES_FROM, FOES_FROM + 5 * FOE, FOE)


def test_the_threat_can_be_foreseen_the_less_the_more_foes_follow_whims() -> None:
    """Whoever is after the member is likelier to hurt it than whoever is near; less so where foes turn to anybody."""
    rates = []
    for whim in (0.0, 0.5):
        found = drawn(0, 600, whim)
        observation, threat, _ = found.chosen()
        after = np.stack([observation[:, k + 4] > 0 for k in _foes()], 1)
        hurt = (threat != NOBODY) & after.any(1)
        rates.append(float(after[hurt, threat[hurt]].mean()))
    assert rates[0] > rates[1] + 0.1


def test_rewards_change_the_stake_and_nothing_else() -> None:
    seeds = np.arange(50, dtype=np.uint64)
    one, other = (
        situations("mage", 2, 0.1, effective_weights("mage", {"reward.spell_damage": weight}), seeds)
        for weight in (1.0, 5.0)
    )
    assert (one.stake != other.stake).any()
    assert (one.threat == other.threat).all()
    assert (one.observation == other.observation).all()
