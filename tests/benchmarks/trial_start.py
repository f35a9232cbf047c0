"""How long a trial takes from its submission to its first gradient step, through the local executor.

`python -m tests.benchmarks.trial_start [--trials N]`: the first trial waits for the fork server's imports, those after
it are what a search sees. The module is the trial's worker, too: the fork server imports it by name.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from supervisor.contract import Budget, as_json
from supervisor.execution.executor import Launch
from supervisor.execution.local import LocalExecutor
from supervisor.journal import durable

TIMES_NAME = "times.json"
LONGEST_S = 120.0


def main(folder: str) -> int:
    """The trial process: the real worker, ended at the first gradient step."""
    entered_s = time.monotonic()
    from trainers import worker
    from trainers.algorithms.dqn import DoubleDQN
    from trainers.target import StopRequested

    advance = DoubleDQN.advance

    def advance_once(learner: DoubleDQN) -> None:
        advance(learner)
        if learner.gradient_steps:
            times = {"entered_s": entered_s, "learnt_s": time.monotonic(), "cpu_s": time.process_time()}
            (Path(folder) / TIMES_NAME).write_text(json.dumps(times))
            raise StopRequested

    DoubleDQN.advance = advance_once  # type: ignore[method-assign]
    return worker.main(folder)


def start_times(trials: int) -> list[dict[str, float]]:
    """Milliseconds per trial from its submission to the worker's first line and to the end of the first gradient step,
    and the trial's own processor time up to there, which other load on the machine does not stretch as much."""
    from tests.support.arena_trials import default_params
    from trainers.single import single_spec

    spec = single_spec("aggressive/combat_dqn", 1, {**default_params(), "dqn.updates": 1}, 800_000, 1)
    found = []
    with tempfile.TemporaryDirectory() as run_dir:
        executor = LocalExecutor(worker="tests.benchmarks.trial_start")
        try:
            for number in range(trials):
                folder = Path(run_dir) / "trials" / f"{number:06d}"
                folder.mkdir(parents=True)
                durable.write_json(folder / "trial.json", as_json(spec))
                found.append(_start(executor, Launch(folder, number, Budget(1, 1e6, 4096), "build")))
        finally:
            executor.close()
    return found


def _start(executor: LocalExecutor, launch: Launch) -> dict[str, float]:
    submitted_s = time.monotonic()
    handle = executor.submit(launch)
    executor.wait(LONGEST_S)
    ended = executor.poll(handle)
    if ended is None or not (launch.folder / TIMES_NAME).exists():
        raise RuntimeError(f"the trial did not come to a gradient step: {ended}")
    times = json.loads((launch.folder / TIMES_NAME).read_text())
    return {
        "worker_ms": (times["entered_s"] - submitted_s) * 1000,
        "gradient_step_ms": (times["learnt_s"] - submitted_s) * 1000,
        "cpu_ms": times["cpu_s"] * 1000,
    }


def _report(trials: int) -> None:
    first, *others = start_times(trials)
    print(f"{'ms':24}{'worker runs':>16}{'gradient step':>16}{'processor time':>16}")
    rows = {"first trial": first}
    for name, choose in (("median of the others", statistics.median), ("slowest of the others", max)):
        rows[name] = {key: choose([each[key] for each in others]) for key in first}
    for name, row in rows.items():
        print(f"{name:24}{row['worker_ms']:16.1f}{row['gradient_step_ms']:16.1f}{row['cpu_ms']:16.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=21)
    _report(parser.parse_args().trials)
