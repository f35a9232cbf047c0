"""combat_dqn keeps what every training must."""

from __future__ import annotations

from tests.support.arena_trials import RESUME_PARAMS, default_params
from tests.support.learner_conformance import LearnerConformance
from trainers.learner import Case, Learner
from trainers.models.combat_dqn import FIGHTS, CombatDqn
from trainers.parameters import fields, group


class TestCombatDqn(LearnerConformance):
    idle_parts = frozenset({"patience"})  # which is off

    def make_learner(self, seed: int) -> Learner:
        params = {**default_params(), **RESUME_PARAMS, "dqn.learning_starts": 4, "dqn.replay_rows": 16}
        rewards = group(params, "reward")
        kind = CombatDqn()
        args = fields(kind.args, kind.names, {name: params[name] for name in params if name not in rewards})
        return kind.learner(Case("aggressive", 1, rewards), args, 12 * FIGHTS, seed, None)
