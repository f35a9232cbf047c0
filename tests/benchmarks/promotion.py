"""The whole promotion pipeline on simulated games, beside the founding documents' rules.

It is the proof that no false winners come through, and it decides the default of `promotion.error`. Exit code 0 if all
promises held, 1 if one did not, 130 when interrupted (with `--state FILE` the same command goes on where it was).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from supervisor.config.settings import PromotionSettings
from supervisor.contract import TestPlan
from supervisor.journal import durable
from supervisor.seeds import derive_seed
from tests.benchmarks import promotion_report
from tests.benchmarks.paired_many import PROMOTE
from tests.benchmarks.promotion_pipelines import PIPELINES, chances, contests
from tests.benchmarks.promotion_worlds import START, WORLDS

CORRELATIONS = (0.0, 0.3, 0.6)
EFFECTS = (-0.05, 0.0, 0.02, 0.03, 0.05, 0.08)
BLOCK_RUNS = 50  # simulated side by side, and kept together in the state file


@dataclass(frozen=True)
class Size:
    """How much is simulated."""

    iterations: int
    blocks: int  # of BLOCK_RUNS runs each
    contests: int  # per row of the table of single tests
    seed: int


DEFAULT = Size(iterations=1000, blocks=3, contests=10_000, seed=0)
FULL = Size(iterations=5000, blocks=4, contests=20_000, seed=0)

Cell = Mapping[str, list[float]]
"""Results by name, one number per run (or one in all)."""


def keys(size: Size) -> Iterator[str]:
    """Names of all cells: `test/CORRELATION/EFFECT` and `runs/CORRELATION/WORLD/PIPELINE/BLOCK`."""
    for correlation in CORRELATIONS:
        yield from (f"test/{correlation}/{effect}" for effect in EFFECTS)
    for block in range(size.blocks):
        for correlation in CORRELATIONS:
            for world in WORLDS:
                # only ours look at pairs: the correlation does nothing to a rule of single games
                names = (name for name in PIPELINES if correlation == CORRELATIONS[1] or name != "seeds/004")
                yield from (f"runs/{correlation}/{world}/{name.replace('/', '-')}/{block}" for name in names)


def simulate(key: str, size: Size) -> Cell:
    """One cell; a function of its name and the size alone."""
    kind, correlation, *rest = key.split("/")
    rng = np.random.default_rng(derive_seed(size.seed, "benchmark", key, 0))
    if kind == "test":
        return single_tests(float(correlation), float(rest[0]), size.contests, rng)
    world, name, _ = rest
    return pipeline_runs(world, name.replace("-", "/"), float(correlation), size.iterations, rng)


def single_tests(correlation: float, effect: float, number: int, rng: np.random.Generator) -> Cell:
    """Paired tests of candidates that win `effect` more often than an incumbent at 47 %."""
    plan = TestPlan()
    odds = chances(np.full(number, START + effect), np.full(number, START), correlation)
    verdicts = contests(plan, np.full(number, plan.evidence_threshold), odds, rng)
    promoted = verdicts.outcome == PROMOTE
    return {"tests": [number], "promoted": [int(promoted.sum())], "games": [float(2 * verdicts.n.mean())]}


def pipeline_runs(world_name: str, name: str, correlation: float, iterations: int, rng: np.random.Generator) -> Cell:
    """BLOCK_RUNS runs of one pipeline in one world, iteration by iteration."""
    world = WORLDS[world_name](BLOCK_RUNS, rng)
    pipeline = PIPELINES[name](world.incumbent, correlation, rng)
    start = world.incumbent
    no_better, false, promotions, tests, games = np.zeros((5, BLOCK_RUNS), np.int64)
    bias = np.zeros(BLOCK_RUNS)
    for _ in range(iterations):
        incumbent = world.incumbent
        proposal = world.propose()
        turn = pipeline.iterate(proposal, incumbent)
        world.tell(turn.told, turn.promoted)
        worse = proposal.strength <= incumbent
        no_better += worse
        false += worse & turn.promoted
        promotions += turn.promoted
        tests += turn.tested
        games += turn.games
        bias += pipeline.published - world.incumbent
    columns = {
        "no_better": no_better,
        "false": false,
        "promotions": promotions,
        "tests": tests,
        "games": games,
        "bias": bias / iterations,
        "claimed": pipeline.published,
        "start": start,
        "end": world.incumbent,
    }
    return {column: values.tolist() for column, values in columns.items()}


class StateFile:
    """Cells that are done, in a file or, without one, in memory."""

    def __init__(self, path: Path | None, size: Size) -> None:
        self._path = path
        self._made_with = {**asdict(size), "rules": _rules_digest()}
        self.cells: dict[str, Cell] = {}
        if path is not None and path.exists():
            self.cells = self._load(path)

    def _load(self, path: Path) -> dict[str, Cell]:
        try:
            stored = json.loads(path.read_bytes())
            made_with, cells = stored["made_with"], stored["cells"]
        except (ValueError, KeyError, TypeError) as error:
            raise SystemExit(f"{path}: is no state file of this benchmark ({error}); name another one") from error
        if made_with != self._made_with:
            raise SystemExit(
                f"{path}: was made with another size or other rules; name another file, or delete this one"
            )
        return dict(cells)

    def add(self, key: str, cell: Cell) -> None:
        self.cells[key] = cell
        if self._path is not None:
            durable.write_json(self._path, {"made_with": self._made_with, "cells": self.cells})


def _rules_digest() -> str:
    """Hash of the code and the settings that decide the results."""
    root = Path(__file__).parents[2]
    files = [*sorted((root / "supervisor/promotion").glob("*.py")), *sorted((root / "tests/benchmarks").glob("p*.py"))]
    code = b"".join(path.read_bytes() for path in files)
    return durable.sha256_bytes(code + PromotionSettings().model_dump_json().encode())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    arguments = _parser().parse_args(argv)
    size = _size(arguments)
    state = StateFile(arguments.state, size)
    started_s = time.monotonic()
    todo = [key for key in keys(size) if key not in state.cells]
    try:
        for number, key in enumerate(todo, start=1):
            if sys.stderr.isatty():
                print(f"\r{number}/{len(todo)} {key:50}", end="", file=sys.stderr, flush=True)
            state.add(key, simulate(key, size))
    except KeyboardInterrupt:
        print(promotion_report.tables(state.cells))
        where = f"the same command with --state {arguments.state} goes on" if arguments.state else "nothing was kept"
        print(f"\ninterrupted with {len(state.cells)} of {len(list(keys(size)))} cells done; {where}")
        return 130
    print(promotion_report.tables(state.cells))
    promises = promotion_report.promises(state.cells)
    print("\n".join(f"{'held  ' if held else 'BROKEN'} {text}" for held, text in promises))
    print(f"\n{BLOCK_RUNS * size.blocks} runs of {size.iterations} iterations per row")
    print(f"{time.monotonic() - started_s:.0f} s for {len(todo)} of {len(list(keys(size)))} cells")
    return 0 if all(held for held, _ in promises) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.promotion", description=__doc__)
    parser.add_argument("--state", type=Path, help="file that keeps what is done, so that an interrupted run goes on")
    parser.add_argument("--full", action="store_true", help="5000 iterations per run, about a quarter of an hour")
    parser.add_argument("--iterations", type=int, help="iterations per run")
    parser.add_argument("--blocks", type=int, help=f"blocks of {BLOCK_RUNS} runs")
    parser.add_argument("--contests", type=int, help="contests per row of the table of single tests")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def _size(arguments: argparse.Namespace) -> Size:
    size = FULL if arguments.full else DEFAULT
    given = {name: getattr(arguments, name) for name in ("iterations", "blocks", "contests")}
    wrong = [f"--{name} {value}: is at least 1" for name, value in given.items() if value is not None and value < 1]
    if wrong:
        raise SystemExit("\n".join(wrong))
    chosen = {name: value for name, value in given.items() if value is not None}
    return Size(**{**asdict(size), **chosen, "seed": arguments.seed})


if __name__ == "__main__":
    sys.exit(main())
