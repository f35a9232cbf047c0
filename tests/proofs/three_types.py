"""Proof that one search improves several model types at once: a real run over three of them. Resumable.

    python -m tests.proofs.three_types --run-dir FOLDER [--targets a/b,c/d,e/f] [--minutes 30] [--workers 2]

Runs `incumbent run` over three targets of different model types until so many minutes of trials per worker are on the
log's lines, in as many calls as it takes, then plays each target's first incumbent and its last one on 2,000 fresh
seeds that no run uses. Leaves with 0 where at least two of the three were promoted and are better beyond doubt.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from supervisor.journal.log import read_log
from tests.proofs.search_gain import report, train, used_s

TARGETS = "aggressive/combat_dqn,ranged/movement_ppo,mage/skill_dqn"
ENOUGH = 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--targets", default=TARGETS, help="comma separated, each of another model type")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--games", type=int, default=2000, help="fresh games of each side")
    given = parser.parse_args()
    targets = given.targets.split(",")
    if len({target.split("/")[1] for target in targets}) != len(targets):
        parser.error("--targets must be of different model types")
    train(given.run_dir, given.targets, "incumbent", given.seed, 60 * given.minutes * given.workers, given.workers)
    promotions = [line for line in read_log(given.run_dir).records if line.is_promotion_by_test]
    print(f"{used_s(given.run_dir) / 60:.1f} minutes of trials, {len(promotions)} promotions by test")
    improved = [report(given.run_dir, target, given.games) == 0 for target in targets]
    print(f"{sum(improved)} of {len(targets)} model types are better than at their start beyond doubt")
    return 0 if sum(improved) >= ENOUGH else 1


if __name__ == "__main__":
    sys.exit(main())
