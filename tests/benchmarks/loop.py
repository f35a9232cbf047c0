"""What the loop itself costs per iteration, and how fast a restart is. Run: python -m tests.benchmarks.loop

Trials are no-ops in the same process. The time inside fsync, the floor that the disk sets, is taken out and shown
beside. For comparison Optuna alone does the same number of trials on SQLite in the same run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import optuna

from supervisor.config.settings import Settings
from supervisor.contract import Interface, Status, Tally, TrialResult, TrialSpec, as_json, parse
from supervisor.journal import sealed
from supervisor.journal.log import read_log
from supervisor.journal.recovery import recover
from supervisor.memory import Memory
from supervisor.planning import request_for
from supervisor.projections import RunProjections
from supervisor.record import Record
from supervisor.registry.store import ModelStore
from supervisor.search.definitions import BUILT_IN, load_definitions
from supervisor.search.policy import Proposer
from supervisor.search.projector import Projector
from supervisor.search.target import TargetDefinition
from supervisor.state import State
from tests.support.small_run import SmallRun

TARGET = "aggressive/combat_dqn"
INTERFACE = Interface({"state": (0, 64)}, {"q_values": (0, 10)})
MEASURED = {"onnx_difference": 0.0, "latency_ms_batch_1": 0.1, "latency_ms_batch_128": 0.2}


class FsyncClock:
    """Counts the calls of os.fsync and the time inside them."""

    def __init__(self) -> None:
        self.calls = 0
        self.seconds = 0.0
        self._real = os.fsync

    def __enter__(self) -> FsyncClock:
        os.fsync = self._timed  # type: ignore[assignment]
        return self

    def __exit__(self, *error: object) -> None:
        os.fsync = self._real

    def _timed(self, descriptor: int) -> None:
        started = time.perf_counter()
        self._real(descriptor)
        self.seconds += time.perf_counter() - started
        self.calls += 1


class NoopTrial:
    """Answers at once; the scores are near those of the incumbent, so that hardly a candidate is tested."""

    def __init__(self, pace_s: float = 0.0) -> None:
        self.seconds = 0.0
        self._pace_s = pace_s

    def __call__(self, folder: str) -> int:
        started = time.perf_counter()
        time.sleep(self._pace_s)
        path = Path(folder)
        spec = parse(TrialSpec, sealed.read(path / "trial.json"))
        wins = 50 + random.Random(spec.iteration).randint(-8, -1)
        (path / "model.onnx").write_bytes(b"model")
        (path / "final.pt").write_bytes(b"weights")
        result = TrialResult(
            iteration=spec.iteration,
            status=Status.COMPLETE,
            params=spec.params,
            candidate=Tally(wins, 0, 100 - wins),
            incumbent=Tally(50, 0, 50) if spec.incumbent else Tally(),
            delta=wins / 100 - 0.5 if spec.incumbent else None,
            games=200,
            model_sha256=f"{spec.iteration:064x}" if spec.incumbent else MODEL_SHA256,
            weights_sha256=None,
            interface=INTERFACE,
            measured=MEASURED,
        )
        (path / "result.json").write_text(json.dumps(as_json(result)))
        self.seconds += time.perf_counter() - started
        return 0


PER_SECOND, PACED = 5, 60
MODEL_SHA256 = "9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4"  # of b"model"


class Timing:
    """Stands in the place of the projections: off, or the real ones behind it. Notes when each line was committed."""

    def __init__(self, trial: NoopTrial, clock: FsyncClock, behind: RunProjections | None) -> None:
        self._trial, self._clock, self._behind = trial, clock, behind
        self.rows: list[tuple[float, float, float]] = []  # wall, fsync, trial; cumulative seconds

    def catch_up(self, state: State) -> None:
        if self._behind is not None:
            self._behind.catch_up(state)

    def proposed(self, spec: TrialSpec) -> None:
        if self._behind is not None:
            self._behind.proposed(spec)

    def committed(self, record: Record, state: State) -> None:
        if self._behind is not None:
            self._behind.committed(record, state)
        self.rows.append((time.perf_counter(), self._clock.seconds, self._trial.seconds))

    def close(self, hurried: bool = False) -> None:
        if self._behind is not None:
            self._behind.close(hurried)

    def overhead_ms(self, iteration: int, around: int = 10) -> tuple[float, float]:
        """(median ms of the loop itself, median ms in fsync) over the iterations around one."""
        first = max(1, iteration - around)
        rows = self.rows[first - 1 : iteration]
        steps = [tuple(b - a for a, b in zip(before, after, strict=True)) for before, after in itertools.pairwise(rows)]
        own = statistics.median(1e3 * (wall - sync - trial) for wall, sync, trial in steps)
        return own, statistics.median(1e3 * sync for _, sync, _ in steps)


def definition() -> TargetDefinition:
    return load_definitions([BUILT_IN], [TARGET], "small")[TARGET]


def run_loop(folder: Path, iterations: int, projected: bool, pace_s: float = 0.0) -> tuple[Timing, float]:
    """Timing of every iteration, and the seconds from the last line to complete projections."""
    # Without promotions the sampler would change for want of success; the default one is what is measured.
    settings: dict[str, dict[str, object]] = {"search": {"stagnation_iterations": 10**6}}
    run = SmallRun(folder, targets=(TARGET,), definitions={TARGET: definition()}, settings=settings)
    trial = NoopTrial(pace_s)
    with FsyncClock() as clock:
        behind = real_projections(folder, run) if projected else None
        timing = Timing(trial, clock, behind)
        run.run(iterations, worker_main=trial, projections=timing)
        ended = time.perf_counter()
    return timing, ended - timing.rows[-1][0]


def real_projections(folder: Path, run: SmallRun) -> RunProjections:
    folder.mkdir(exist_ok=True)
    settings = Settings()
    spaces = {key: target.space for key, target in run.definitions.items()}
    projector = Projector(folder, settings, "run", lambda event, reason: print(event, reason), spaces)
    return RunProjections(folder, settings, run.definitions, ModelStore(folder), run.events(), None, projector)


def restart_seconds(folder: Path) -> tuple[float, int]:
    """From an empty process's point of view: log and snapshot read, state folded, first proposal made."""
    started = time.perf_counter()
    memory = Memory.of(recover(folder, "run", 1), 1)
    iteration = memory.state.iteration + 1
    target = memory.state.target(TARGET)
    history = memory.history_for(iteration, TARGET)
    Proposer().propose(request_for(iteration, definition(), target, history, [], Settings()))
    return time.perf_counter() - started, memory.state.iteration


def optuna_ms(folder: Path, trials: int) -> float:
    """Optuna alone, as documented: SQLite storage, TPE, the same number of parameters."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=f"sqlite:///{folder}/optuna.db", sampler=optuna.samplers.TPESampler(seed=0))
    names = definition().space.names
    started = time.perf_counter()
    study.optimize(lambda trial: sum(trial.suggest_float(name, 0, 1) for name in names), n_trials=trials)
    return 1e3 * (time.perf_counter() - started) / trials


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--iterations", type=int, default=3000)
    arguments.add_argument("--folder", type=Path, help="where to work; default a temporary folder on the disk")
    given = arguments.parse_args()
    base = Path(tempfile.mkdtemp(prefix="incumbent-loop-", dir=given.folder))
    try:
        report(base, given.iterations)
    finally:
        shutil.rmtree(base)


def report(base: Path, iterations: int) -> None:
    timing, _ = run_loop(base / "off", iterations, projected=False)
    print("loop with a no-op trial, sampler spsa, projections off")
    print("iteration   loop itself ms   in fsync ms")
    for iteration in sorted({10, 100, 1000, iterations}):
        if iteration <= iterations:
            own, sync = timing.overhead_ms(iteration)
            print(f"{iteration:9d}   {own:14.2f}   {sync:11.2f}")
    seconds, at = restart_seconds(base / "off")
    print(f"restart at iteration {at}: {seconds:.2f} s to the first proposal")
    timing, closing = run_loop(base / "paced", PACED, projected=True, pace_s=1 / PER_SECOND)
    print(
        f"projections on, at most {PER_SECOND} iterations/s: complete {closing:.2f} s after the last of {PACED} lines"
    )
    show_complete(base / "paced")
    few = min(300, iterations)
    timing, closing = run_loop(base / "on", few, projected=True)
    own, sync = timing.overhead_ms(few)
    print(f"projections on, as fast as it goes, at iteration {few}: {own:.2f} ms, {sync:.2f} ms in fsync;")
    print(f"complete {closing:.2f} s after the last line")
    show_complete(base / "on")
    print(f"Optuna alone on SQLite with TPE, {few // 3} trials: {optuna_ms(base, few // 3):.1f} ms a trial")


def show_complete(folder: Path) -> None:
    shown = optuna.load_study(study_name=TARGET, storage=f"sqlite:///{folder}/study.db")
    print(f"  study.db holds {len(shown.trials)} of {len(read_log(folder).records)} lines")


if __name__ == "__main__":
    main()
