"""Proof that the search finds something: a real run, then fresh games outside it. Resumable.

    python -m tests.proofs.search_gain --start-from scratch --run-dir FOLDER
    python -m tests.proofs.search_gain --start-from incumbent --run-dir FOLDER

Runs `incumbent run` on one target until 30 minutes (--minutes; --full: 180) are on the log's lines, in as many calls as
it takes, then plays the first incumbent and the last one on 2,000 fresh seeds that no run uses.
`scratch`: every trial has the same training budget, so only the configuration can win. `incumbent`: skill accumulates.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from supervisor.console import line_for_people, percent
from supervisor.journal.identity import load_identity
from supervisor.journal.log import read_log
from supervisor.journal.recovery import recover_reading
from supervisor.promotion.wilson import Z_95, wilson_interval
from supervisor.record import Record
from supervisor.seeds import derive_seed
from trainers.catalogue import model_type
from trainers.evaluate import load_session
from trainers.learner import Case

LOOK_S = 5.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start-from", choices=["scratch", "incumbent"], required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--target", default="aggressive/combat_dqn")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--full", action="store_true", help="180 minutes")
    parser.add_argument("--games", type=int, default=2000, help="fresh games of each side")
    given = parser.parse_args()
    minutes = 180.0 if given.full else given.minutes
    train(given.run_dir, given.target, given.start_from, given.seed, 60 * minutes)
    return report(given.run_dir, given.target, given.games)


def train(run_dir: Path, target: str, start_from: str, seed: int, limit_s: float, workers: int = 1) -> None:
    """Run the supervisor until its lines hold that many seconds of trials; at once where they do already.

    `target` may be several, comma separated.
    """
    if used_s(run_dir) >= limit_s:
        return
    command = [sys.executable, "-m", "supervisor", "run", "--run-dir", str(run_dir), "--targets", target]
    kept = {"INCUMBENT_RUN__RETENTION_VERSIONS": "100000"}  # the first version plays against the last one
    process = subprocess.Popen(
        [*command, "--start-from", start_from, "--seed", str(seed), "--workers", str(workers)],
        env={**os.environ, **kept},
    )
    try:
        while process.poll() is None and used_s(run_dir) < limit_s:
            time.sleep(LOOK_S)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def used_s(run_dir: Path) -> float:
    records = read_log(run_dir).records if run_dir.is_dir() else ()
    return sum(float(str(record.time.get("duration_s", 0))) for record in records)


def report(run_dir: Path, target: str, games: int) -> int:
    """Print promotions and the fresh games; 0 when the gain's 95 % interval lies above 0."""
    identity = load_identity(run_dir)
    assert identity is not None
    state, _ = recover_reading(run_dir, identity.run_id, 0)
    mine = [record for record in read_log(run_dir).records if record.target == target]
    promotions = [record for record in mine if record.promoted]
    print(f"{target}: {len(mine)} iterations, {used_s(run_dir) / 60:.1f} minutes, {len(promotions) - 1} promotions")
    for record in promotions:
        print("  " + line_for_people(record))
    last = state.target(target).incumbent
    assert last is not None
    if len(promotions) < 2:
        print("nothing was promoted")
        return 1
    seed = derive_seed(identity.seed, "proof", target, 0)
    ours = play(run_dir, last.model_sha256, target, last.level, seed, games)
    theirs = play(run_dir, promotions[0].model_sha256, target, last.level, seed, games)
    show("first incumbent", promotions[0].version, theirs)
    show("last incumbent", last.name, ours)
    published = state.target(target).pool
    print(f"published for {last.name}: {percent(published.rate)} over {published.games} games")
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    mean = sum(differences) / games
    spread = math.sqrt(sum((value - mean) ** 2 for value in differences) / (games - 1) / games)
    low, high = mean - Z_95 * spread, mean + Z_95 * spread
    print(f"gain on {games} fresh pairs: {100 * mean:+.1f} points, 95 % interval {100 * low:+.1f} to {100 * high:+.1f}")
    if promotions[0].params != last.params:
        print_changes(promotions[0], dict(last.params))
    return 0 if low > 0 else 1


def play(run_dir: Path, model_sha256: str | None, target: str, level: int, seed: int, games: int) -> list[float]:
    assert model_sha256 is not None
    session = load_session(run_dir / "models" / f"{model_sha256}.onnx", model_sha256)
    archetype, name = target.split("/", maxsplit=1)
    return model_type(name).player(Case(archetype, level, {}), session).play(seed, games)


def show(name: str, version: str | None, scores: list[float]) -> None:
    low, high = wilson_interval(sum(scores), len(scores))
    rate = sum(scores) / len(scores)
    print(f"{name} {version}: {percent(rate)} on {len(scores)} fresh games ({percent(low)} to {percent(high)})")


def print_changes(first: Record, params: dict[str, bool | int | float | str]) -> None:
    print("parameters of the last incumbent that differ from the default:")
    for name, value in sorted(params.items()):
        if first.params.get(name) != value:
            print(f"  {name}: {first.params.get(name)} -> {value}")


if __name__ == "__main__":
    sys.exit(main())
