"""Environment steps per second on one core: the arena alone, and a training with its gradient steps.

`python -m tests.benchmarks.learning [--steps N]` prints both per second of processor time (what a quiet core gives) and
of wall time, for the default small trial of every archetype.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from supervisor.contract import Params
from tests.support.arena_trials import default_params
from trainers.algorithms.dqn import DoubleDQN
from trainers.algorithms.dqn_args import NAMES, Args
from trainers.arena.arena import Arena
from trainers.models.combat_dqn import FIGHTS
from trainers.parameters import fields, group

ARCHETYPES = ("aggressive", "defensive", "mage", "ranged", "support", "tank")


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds of processor and of wall time."""
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu_s, time.perf_counter() - wall_s


def arena(archetype: str) -> Arena:
    made = Arena(FIGHTS, archetype, 1)
    made.start(np.arange(FIGHTS))
    return made


def play(fights: Arena, rows: int) -> None:
    """Random actions, drawn beforehand."""
    actions = np.random.default_rng(0).integers(0, 10, (rows, FIGHTS))
    for row in actions:
        fights.step(row)


def learner(archetype: str, params: Params, steps: int) -> DoubleDQN:
    args = fields(Args, NAMES, {name: params[name] for name in params if name not in group(params, "reward")})
    return DoubleDQN(args, arena(archetype), steps, 1, 64, 10)


def learn(training: DoubleDQN, rows: int) -> None:
    for _ in range(rows):
        training.advance()


def _report(steps: int) -> None:
    torch.set_num_threads(1)
    rows = max(1, steps // FIGHTS)
    print(f"{'':14}{'arena alone':>26}{'with learning':>26}   environment steps/s")
    print(f"{'':14}{'cpu':>13}{'wall':>13}{'cpu':>13}{'wall':>13}")
    for archetype in ARCHETYPES:
        fights = arena(archetype)
        training = learner(archetype, default_params(f"{archetype}/combat_dqn"), 10 * steps)
        play(fights, 20)
        learn(training, 40)
        seconds = [*timed(lambda f=fights: play(f, rows)), *timed(lambda t=training: learn(t, rows))]
        print(f"{archetype:14}" + "".join(f"{rows * FIGHTS / each:13,.0f}" for each in seconds))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200_000, help="environment steps per figure")
    _report(parser.parse_args().steps)
