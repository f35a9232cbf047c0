"""K trainings as one stacked batch against the same K one after the other, and what each costs in single trainings.

`python -m tests.benchmarks.population [--rounds N]`: gradient steps alone (the network's and the replay's) and whole
trainings with their arenas, in processor time; both sides take turns, so that other load hits them alike. `price` is
what K stacked cost in units of one alone, `gain` how often the K one after the other would have fitted into that time;
both are medians over the rounds. `wall` is the gain by the wall's clock.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from tests.support.arena_trials import default_params
from trainers.algorithms.dqn import Batch, DoubleDQN
from trainers.algorithms.dqn_args import NAMES, Args
from trainers.arena.arena import ACTION_COUNT, OBSERVATION_WIDTH, Arena
from trainers.models.combat_dqn import FIGHTS
from trainers.parameters import fields, group

SHAPES = (("64,64", 64), ("128,128", 64), ("128,128", 256))
COUNTS = (1, 2, 4, 8, 16)
WARM_UP, STEPS = 16, 6
ENDLESS = 10**9


@dataclass(frozen=True)
class Spent:
    """Seconds of processor and of wall time."""

    cpu: float
    wall: float


@dataclass(frozen=True)
class Work:
    """K alone and the same K as one batch, by what is done once for each of them."""

    alone: Sequence[Callable[[], None]]
    stacked: Callable[[], None]

    def round(self) -> tuple[Spent, Spent]:
        """One after the other, then the batch."""
        return spent(lambda: [one() for one in self.alone]), spent(self.stacked)


def spent(work: Callable[[], object]) -> Spent:
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    for _ in range(STEPS):
        work()
    return Spent(time.process_time() - cpu_s, time.perf_counter() - wall_s)


def candidates(count: int, hidden: str, batch_size: int) -> list[DoubleDQN]:
    """Each with a learning rate, discount and replay of its own."""
    params = {**default_params(), "dqn.hidden": hidden, "dqn.batch_size": batch_size, "dqn.replay_rows": 64}
    args = fields(Args, NAMES, {name: params[name] for name in params if name not in group(params, "reward")})
    made = []
    for k in range(count):
        arena = Arena(FIGHTS, "aggressive", 1)
        arena.start(np.arange(k * FIGHTS, (k + 1) * FIGHTS, dtype=np.uint64))
        own = replace(args, learning_rate=1e-4 * (k + 1), gamma=0.9 + 0.005 * k, priority_alpha=0.4 + 0.02 * k)
        made.append(DoubleDQN(own, arena, ENDLESS, k, OBSERVATION_WIDTH, ACTION_COUNT))
    return made


def filled(batch: Batch) -> Batch:
    for _ in range(WARM_UP):
        batch.advance()
    return batch


def gradient_step(batch: Batch) -> Callable[[], None]:
    rng = np.random.default_rng(0)
    beta = np.full((len(batch.learners), 1), 0.5)
    return lambda: batch._learn(rng.random((len(batch.learners), batch.args.batch_size)), beta)


def works(count: int, hidden: str, batch_size: int) -> dict[str, Work]:
    alone = [filled(learner.batch) for learner in candidates(count, hidden, batch_size)]
    stacked = filled(Batch.of(candidates(count, hidden, batch_size)))
    return {
        "gradient step": Work([gradient_step(batch) for batch in alone], gradient_step(stacked)),
        "with the arena": Work([batch.advance for batch in alone], stacked.advance),
    }


def _report(rounds: int) -> None:
    torch.set_num_threads(1)
    print(f"{'shape, batch, K':35}{'one alone':>12}{'K stacked':>12}{'price':>8}{'gain':>7}{'wall':>7}")
    for hidden, batch_size in SHAPES:
        for count in COUNTS:
            for name, work in works(count, hidden, batch_size).items():
                pairs = [work.round() for _ in range(rounds)]
                one_ms, stacked_ms = (
                    statistics.median(seconds) / STEPS * 1000
                    for seconds in ([one.cpu / count for one, _ in pairs], [all_of.cpu for _, all_of in pairs])
                )
                price = statistics.median(all_of.cpu / one.cpu * count for one, all_of in pairs)
                gain = statistics.median(one.cpu / all_of.cpu for one, all_of in pairs)
                wall = statistics.median(one.wall / all_of.wall for one, all_of in pairs)
                said = f"[{hidden}] {batch_size:3} {name}"
                print(
                    f"{said:29}{count:3}{one_ms:9.2f} ms{stacked_ms:9.2f} ms{price:8.2f}{gain:7.2f}{wall:7.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12, help="how often both sides take turns per figure")
    _report(parser.parse_args().rounds)
