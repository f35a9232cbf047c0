"""What each reward weight does to behaviour: combat_dqn trained with the weight at either end of its range.

`python -m tests.proofs.reward_behaviour [--archetypes mage,tank] [--steps N] [--seeds N]` prints a line per weight: how
much of what it pays for a fight brings under either, and the interval of the difference over fresh fights. About ten
seconds per weight and seed.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from supervisor.promotion.wilson import Z_95
from supervisor.search.definitions import BUILT_IN, load_definitions
from supervisor.search.target import TargetDefinition
from trainers.arena.arena import Arena
from trainers.arena.rewards import TERMS
from trainers.evaluate import GreedyPolicy, OnnxSession
from trainers.export import onnx_bytes
from trainers.learner import Case, Session
from trainers.models.combat_dqn import INPUT, OUTPUT, CombatDqn
from trainers.parameters import fields, group

FIGHTS = 512
STEPS = 300_000
LEVEL = 1
FIRST_SEED = 10**9


@dataclass(frozen=True)
class Effect:
    """Mean amount of the term in a fight, under the weight's range ends; the interval of high - low, 95 %."""

    archetype: str
    term: str
    low: float
    high: float
    difference_low: float
    difference_high: float

    @property
    def visible(self) -> bool:
        """Beyond doubt another behaviour."""
        return self.difference_low > 0 or self.difference_high < 0


def trained(definition: TargetDefinition, weight: str, value: float, steps: int, seed: int) -> Session:
    """The file of a policy that was trained with one reward weight changed."""
    params = {**definition.defaults(), weight: value}
    kind = CombatDqn()
    rewards = group(params, "reward")
    args = fields(kind.args, kind.names, {name: params[name] for name in params if name not in rewards})
    learner = kind.learner(Case(definition.key.split("/")[0], LEVEL, rewards), args, steps, seed, None)
    while not learner.finished:
        learner.advance()
    return OnnxSession(onnx_bytes(learner.exported()))


def amounts(session: Session, archetype: str, term: str, seed: int) -> np.ndarray:
    """How much of what the term pays for each of some fresh fights brings."""
    arena = Arena(FIGHTS, archetype, LEVEL, {term: 1.0}, reopen=False)
    policy = GreedyPolicy(session, INPUT, OUTPUT)
    observation = arena.start(np.arange(seed, seed + FIGHTS, dtype=np.uint64))
    total = np.zeros(FIGHTS)
    while arena.active.any():
        step = arena.step(policy(observation))
        total += step.reward
        observation = step.observation
    return total


def effect(archetype: str, term: str, steps: int = STEPS, seeds: int = 1) -> Effect:
    """Both ends of the weight's range, everything else at its default, the same seeds on either side."""
    definition = load_definitions([BUILT_IN], [f"{archetype}/combat_dqn"], "small")[f"{archetype}/combat_dqn"]
    weight = f"reward.{term}"
    parameter = definition.space[weight]
    sides = []
    for value in (parameter.low, parameter.high):
        assert value is not None
        played = [
            amounts(trained(definition, weight, float(value), steps, seed), archetype, term, FIRST_SEED + seed)
            for seed in range(1, seeds + 1)
        ]
        sides.append(np.concatenate(played))
    difference = sides[1] - sides[0]
    half = Z_95 * difference.std(ddof=1) / np.sqrt(len(difference))
    mean = float(difference.mean())
    return Effect(archetype, term, float(sides[0].mean()), float(sides[1].mean()), mean - half, mean + half)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archetypes", default=",".join(TERMS), help="comma separated; default all")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'archetype':11} {'term':20} {'weight low':>10} {'weight high':>11}   difference, 95 %")
    for archetype in options.archetypes.split(","):
        for term in TERMS[archetype]:
            found = effect(archetype, term, options.steps, options.seeds)
            print(
                f"{archetype:11} {term:20} {found.low:10.2f} {found.high:11.2f}"
                f"   {found.difference_low:+.2f} to {found.difference_high:+.2f} {'' if found.visible else '(none)'}",
                flush=True,
            )


if __name__ == "__main__":
    main()
