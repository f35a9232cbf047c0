#!/usr/bin/env python3
"""The loop from Python, and under the founding document's name and flags.

    python3 tools/continuous_training.py --games 50 --max-iterations 1000

    from tools.continuous_training import ContinuousTrainer
    trainer = ContinuousTrainer(games_per_iteration=50)
    trainer.train()

`incumbent run` has more flags, and tools/start_training.sh serves the models beside the run.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import util
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class ContinuousTrainer:
    """One run folder and how it is searched. None takes the configuration's figure, or else the default."""

    games_per_iteration: int | None = None
    checkpoint_interval: int | None = None
    max_iterations: int | None = None
    min_improvement: float | None = None
    config: Path | str | None = None
    run_dir: Path | str = "checkpoints"
    seed: int | None = None
    targets: str | None = None  # comma-separated keys or globs

    def train(self, single_iteration: bool = False) -> int:
        """Search until stopped or until `max_iterations`; call it again to go on. Returns 0.

        Call it in the main thread: Ctrl+C and SIGTERM save and end the search. Raises supervisor.errors.IncumbentError.
        """
        from supervisor.commands.run import RunOptions, run_supervisor

        config = Path(self.config) if self.config is not None else None
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            return run_supervisor(
                RunOptions(Path(self.run_dir), config, self._flags(), single_iteration=single_iteration)
            )
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _flags(self) -> Mapping[str, object]:
        flags: dict[str, object] = {
            "run.games": self.games_per_iteration,
            "run.checkpoint_interval": self.checkpoint_interval,
            "run.max_iterations": self.max_iterations,
            "promotion.min_improvement": self.min_improvement,
            "run.seed": self.seed,
            "run.targets": self.targets.split(",") if self.targets else None,
        }
        return {name: value for name, value in flags.items() if value is not None}


def main(arguments: list[str]) -> int:
    """The exit code of one command line; those of `incumbent`."""
    from supervisor.errors import IncumbentError

    flags = _parser().parse_args(arguments)
    trainer = ContinuousTrainer(
        games_per_iteration=flags.games,
        checkpoint_interval=flags.checkpoint_interval,
        max_iterations=flags.max_iterations,
        min_improvement=flags.min_improvement,
        config=flags.config,
        run_dir=flags.run_dir,
        seed=flags.seed,
        targets=flags.targets,
    )
    try:
        return trainer.train(flags.single_iteration)
    except IncumbentError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Search until stopped; the same command goes on where it was.")
    parser.add_argument(
        "--games", type=int, help="screen games per trial (default: the sampler's: spsa 100, others 30)"
    )
    parser.add_argument("--checkpoint-interval", type=int, help="iterations per snapshot (default: 10)")
    parser.add_argument("--max-iterations", type=int, help="stop after this iteration (default: unlimited)")
    parser.add_argument("--min-improvement", type=float, help="gain to be proven (default: 0.001 = 0.1 %%)")
    parser.add_argument("--config", type=Path, help="configuration file (YAML)")
    parser.add_argument("--single-iteration", action="store_true", help="one iteration, then stop")
    parser.add_argument("--run-dir", type=Path, default=Path("checkpoints"), help="(default: checkpoints)")
    parser.add_argument(
        "--seed", type=int, help="every random choice is derived from it (default: the folder's, at first 0)"
    )
    parser.add_argument("--targets", help="comma-separated keys or globs (default: */combat_dqn)")
    return parser


def _go_on_in_the_environment() -> None:
    """Started with a Python that lacks the packages: set up .venv, then become its Python."""
    python = ROOT / ".venv" / "bin" / "python"
    if util.find_spec("optuna") is None and Path(sys.prefix) != python.parent.parent:
        subprocess.run([str(ROOT / "tools" / "setup.sh")], check=True)
        os.execv(python, [str(python), __file__, *sys.argv[1:]])  # noqa: S606


if __name__ == "__main__":
    _go_on_in_the_environment()
    sys.exit(main(sys.argv[1:]))
