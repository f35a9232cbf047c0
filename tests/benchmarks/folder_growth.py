"""How a run folder grows: MB per 1,000 iterations, kind by kind. Run: python -m tests.benchmarks.folder_growth

The real supervisor works on no-op trials with combat_dqn's search space, so that lines, trial folders and database rows
have their real size. Growth is taken once the last trial folders are there and retention has begun to remove. A no-op
target is promoted far more often than a real one, so what grows with promotions is an upper bound. Model files are
counted; their real size is that of an export of the default network.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from supervisor.config.settings import Settings
from supervisor.search.definitions import BUILT_IN, load_definitions
from supervisor.search.space import Parameter, Space
from supervisor.search.target import TargetDefinition
from tests.support.small_run import SmallRun
from trainers.arena.arena import ACTION_COUNT, OBSERVATION_WIDTH
from trainers.export import onnx_bytes
from trainers.networks.mlp import QNetwork
from trainers.weights import pack

MB = 2**20
WARM_UP = 300  # iterations until the last 200 trial folders are there and the oldest go
KEYS = tuple(f"{name}/combat_dqn" for name in ("aggressive", "defensive", "mage", "ranged", "support", "tank"))
SCALES = ("small", "full")
SKILL = Parameter("skill", "float", default=0.3, low=0.0, high=1.0)
CLOCK_CHARACTERS = 11  # before each line of a console log, and its end


@dataclass(frozen=True)
class Kind:
    """One kind of file: which, and what bounds it."""

    name: str
    patterns: tuple[str, ...]
    bound: str


KINDS = (
    Kind("training_log.jsonl", ("training_log.jsonl",), "grows: the truth; logrotate compresses it"),
    Kind("study.db", ("study.db*",), "grows: may be deleted, the log brings it back"),
    Kind("events.jsonl", ("events*.jsonl",), "32 MB, twice"),
    Kind("checkpoints", ("checkpoint*.json",), "grows with promotions"),
    Kind("trial folders, last 200", ("trials/*/*",), "retention_trials, and those that made a version"),
    Kind("model files", ("models/*",), "retention_versions per target"),
    Kind("everything else", ("run.json", "config.yaml", "supervisor.lock", "external/*", "requests/*"), "constant"),
)


def definition(key: str, scale: str = "small") -> TargetDefinition:
    """combat_dqn's search space around a trial that costs nothing."""
    real = load_definitions([BUILT_IN], [key], scale)[key]
    space = Space((*real.space.parameters, SKILL))
    return replace(real, kind="tests.support.noop:NoopTarget", space=space)


def sizes(run_dir: Path) -> dict[str, int]:
    """Bytes on the disk by kind."""
    return {kind.name: sum(_bytes(path) for path in _files(run_dir, kind)) for kind in KINDS}


def _files(run_dir: Path, kind: Kind) -> list[Path]:
    return [path for pattern in kind.patterns for path in run_dir.glob(pattern) if path.is_file()]


def _bytes(path: Path) -> int:
    return path.stat().st_blocks * 512


def version_bytes(scale: str) -> int:
    """What one version's model and weights take, exported from the default network of the scale."""
    fixed = definition(KEYS[0], scale).fixed
    widths = [int(width) for width in str(fixed["dqn.hidden"]).split(",")]
    network = QNetwork(OBSERVATION_WIDTH, widths, ACTION_COUNT, dueling=False, dropout=0.0)
    return len(onnx_bytes(network.exported())) + len(
        pack({"network": network.state_dict(), "target": network.state_dict()})
    )


def compressed(path: Path, size: int) -> int:
    """What gzip makes of the last `size` bytes of a log."""
    return len(gzip.compress(path.read_bytes()[-size:]))


def table(before: dict[str, int], after: dict[str, int], per: float) -> list[str]:
    """`per` thousands of iterations lie between the two looks."""
    lines = [f"{'':26}{'MB now':>9}{'MB per 1,000':>14}   bounded by"]
    for kind in KINDS:
        growth = (after[kind.name] - before[kind.name]) / per
        lines.append(f"{kind.name:26}{after[kind.name] / MB:9.2f}{growth / MB:14.2f}   {kind.bound}")
    total = sum((after[name] - before[name]) / per for name in after)
    return [*lines, f"{'together':26}{sum(after.values()) / MB:9.2f}{total / MB:14.2f}"]


def models(made: int, kept: float) -> list[str]:
    """What model files take with the sizes of real networks; `kept` versions of each target have theirs."""
    most = 1 + 2 * Settings().run.retention_versions
    lines = [f"{made} versions made, model files of {kept:.1f} kept per target ({most} at most)"]
    for scale in SCALES:
        size = version_bytes(scale) / MB
        lines.append(
            f"combat_dqn, scale {scale}: {size:.2f} MB a version, {kept * size:.1f} MB a target ({most * size:.1f} at"
            f" most); without retention {made * size:,.0f} MB for these {made}"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--iterations", type=int, default=1000, help="measured, after the first 300")
    arguments = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="folder-growth-"))
    try:
        run = SmallRun(base / "run", definitions={key: definition(key) for key in KEYS}, targets=KEYS, dashboard=True)
        run.run(WARM_UP)
        before = sizes(run.run_dir)
        state = run.run(WARM_UP + arguments.iterations)
        after = sizes(run.run_dir)
        per = arguments.iterations / 1000
        print(f"{len(KEYS)} targets, {WARM_UP} iterations, then {arguments.iterations} measured\n")
        print("\n".join(table(before, after, per)))
        log = run.run_dir / "training_log.jsonl"
        packed = compressed(log, after["training_log.jsonl"] - before["training_log.jsonl"])
        console = sum(len(line) + CLOCK_CHARACTERS for line in run.said[-arguments.iterations :])
        print(f"\nper 1,000: log compressed {packed / per / MB:.2f} MB, console log {console / per / MB:.2f} MB")
        made = sum(len(target.versions) for target in state.targets.values())
        print("\n".join(models(made, len(list((run.run_dir / "models").glob("*.onnx"))) / len(KEYS))))
    finally:
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
