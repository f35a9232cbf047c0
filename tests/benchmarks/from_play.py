"""Does play that was recorded make a model better? Play, train from it, play with the better one, and so on.

`python -m tests.benchmarks.from_play [--targets a/b,…] [--rounds N] [--steps N] [--games N] [--seeds N]` trains a weak
model (a tenth of the default budget, SAC a fifth), plays with its exported file in the arena as a game would, now and
then at random, trains from the recorded steps alone, and plays paired games with the files before and after. A round's
model goes on if it won more; what was recorded before is replayed. The reward is the archetype's default one.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from numpy.typing import NDArray

from supervisor.contract import Params
from supervisor.experience.rows import Experiences, joined
from tests.support.arena_trials import default_params, default_steps
from tests.support.recorded_play import Explore, blurred, now_and_then, pages_of, recorded
from trainers.algorithms.from_play.plan import Plan
from trainers.catalogue import model_type
from trainers.evaluate import GreedyPolicy, OnnxSession
from trainers.export import onnx_bytes
from trainers.learner import Case, Exported, Learner, LearnsFromPlay, ModelType, State
from trainers.models import combat_dqn, skill_dqn, soft_actor_critic
from trainers.parameters import fields, group

LEVEL = 3
FIGHTS = 64  # of the game, side by side
WEAK = {"combat_dqn": 0.1, "skill_dqn": 0.1, "soft_actor_critic": 0.2}  # of the default budget
EXPLORED = 0.1  # share of steps at random
DEVIATION = 0.3  # of controls
FIRST_GAME, FIRST_FIGHT = 10**7, 5 * 10**7
COLUMNS = (
    "target",
    "seed",
    "round",
    "before %",
    "after %",
    "gain (95 %)",
    "gradient steps",
    "processor s",
    "hold-out: TD error",
    "return error",
    "agreement",
)
TARGETS = "aggressive/combat_dqn,mage/combat_dqn,aggressive/skill_dqn,mage/skill_dqn"


@dataclass(frozen=True)
class Kind:
    """How a model type's file plays in the arena as a game."""

    policy: Callable[[OnnxSession], Callable[[Any], NDArray[Any]]]
    arena: Callable[[int, Case, int], Any]
    explore: Explore


KINDS = {
    "combat_dqn": Kind(
        lambda session: GreedyPolicy(session, "state", "q_values"),
        lambda rows, case, seed: combat_dqn._arena(rows, case, seed),
        now_and_then(EXPLORED, combat_dqn.ACTION_COUNT),
    ),
    "skill_dqn": Kind(
        skill_dqn._Policy,
        lambda rows, case, seed: skill_dqn._arena(rows, case, seed),
        now_and_then(EXPLORED, skill_dqn.SLOTS),
    ),
    "soft_actor_critic": Kind(
        soft_actor_critic._Policy,
        lambda rows, case, seed: soft_actor_critic._started(rows, case, {}, seed),
        blurred(DEVIATION),
    ),
}


@dataclass(frozen=True)
class Target:
    """One of them with its default configuration."""

    archetype: str
    name: str

    @property
    def kind(self) -> ModelType:
        return model_type(self.name)

    @property
    def case(self) -> Case:
        return Case(self.archetype, LEVEL, {})

    @property
    def args(self) -> Any:
        params: Params = default_params(f"{self.archetype}/{self.name}")
        own = {name: value for name, value in params.items() if name not in group(params, "reward")}
        return fields(self.kind.args, self.kind.names, own)

    def weak(self, seed: int) -> Learner:
        steps = round(WEAK[self.name] * default_steps(f"{self.archetype}/{self.name}"))
        return run(self.kind.learner(self.case, self.args, steps, seed, None))

    def played(self, session: OnnxSession, steps: int, seed: int) -> Experiences:
        kind = KINDS[self.name]
        arena = kind.arena(FIGHTS, self.case, FIRST_FIGHT + seed * 10**5)
        return recorded(kind.policy(session), arena, kind.explore, steps, seed)

    def trained(self, rows: Experiences, plan: Plan, start: State, seed: int) -> Learner:
        kind = self.kind
        assert isinstance(kind, LearnsFromPlay)
        return run(kind.learner_from_play(self.case, self.args, plan, seed, start, pages_of(rows)))

    def scores(self, session: OnnxSession, first_seed: int, games: int) -> NDArray[np.float64]:
        return np.asarray(self.kind.player(self.case, session).play(first_seed, games))


def run(learner: Learner) -> Learner:
    while not learner.finished:
        learner.advance()
    return learner


def session_of(exported: Exported) -> OnnxSession:
    return OnnxSession(onnx_bytes(exported))


@dataclass(frozen=True)
class Round:
    """What one brought."""

    before: float
    after: float
    gain: float
    half_width: float  # of the gain's 95 % interval
    training_s: float  # of processor time
    metrics: dict[str, float]

    def __str__(self) -> str:
        told = self.metrics
        looked = " | ".join(
            f"{told.get(f'holdout_{name}_before', np.nan):.3f} → {told.get(f'holdout_{name}', np.nan):.3f}"
            for name in ("td_error", "return_error", "agreement")
        )
        rates = f"{100 * self.before:.1f} | {100 * self.after:.1f}"
        gain = f"{100 * self.gain:+.1f} (± {100 * self.half_width:.1f})"
        return f"{rates} | {gain} | {told['gradient_steps']:.0f} | {self.training_s:.1f} | {looked}"


def rounds(target: Target, options: argparse.Namespace, seed: int, plan: Plan) -> list[Round]:
    weak = target.weak(seed)
    start, session, found = weak.final(), session_of(weak.exported()), []
    replay: list[Experiences] = []
    for number in range(options.rounds):
        new = target.played(session, options.steps, 100 * seed + number)
        rows = joined([*replay, new])
        old = min(len(rows) - len(new), plan.memory_rows)
        told = replace(plan, old_rows=old, new_rows=len(new))
        began_s = time.process_time()
        trained = target.trained(rows.where(slice(len(rows) - len(new) - old, None)), told, start, number)
        training_s = time.process_time() - began_s
        after = session_of(trained.exported())
        first_game = FIRST_GAME + number * options.games
        scores = [target.scores(side, first_game, options.games) for side in (session, after)]
        gain = scores[1] - scores[0]
        half_width = 1.96 * gain.std() / len(gain) ** 0.5
        found.append(Round(*(s.mean() for s in scores), gain.mean(), half_width, training_s, trained.metrics()))
        print(f"| {target.archetype}/{target.name} | {seed} | {number + 1} | {found[-1]} |", flush=True)
        replay.append(new)
        if gain.mean() > 0:
            start, session = trained.final(), after
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", default=TARGETS)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=30_000, help="recorded in a round")
    parser.add_argument("--games", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| " + " | ".join(COLUMNS) + " |")
    print("| --- |" + " ---: |" * (len(COLUMNS) - 1))
    for key in options.targets.split(","):
        for seed in range(1, options.seeds + 1):
            rounds(Target(*key.split("/")), options, seed, Plan())


if __name__ == "__main__":
    main()
