"""The real supervisor, server and trials under random kills for half an hour, then an undisturbed run: equal.

    python -m tests.faults.soak                        30 minutes, then about half as long for the undisturbed run
    python -m tests.faults.soak --minutes 5 --dir D    interrupted, the same command goes on in the same folder

Every 1 to 20 seconds one of the supervisor, a trial, the fork server, the model server or all of them gets SIGKILL, or
SIGSTOP and some seconds later SIGCONT; or the supervisor SIGINT or SIGTERM. Whatever ended is started again at once. A
third process of one trial in a row that saved nothing fails the trial by design, so no such kill is dealt. Exit code 1
where anything was left behind, answered wrongly, or differs at the end.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from supervisor.journal.log import read_log
from tests.faults.cell import PromiseBrokenError
from tests.faults.picture import assert_same
from tests.faults.real_soak import Disturber, Tally
from tests.faults.real_stage import alone_on
from tests.faults.real_work import SHORT, Work, assert_true_answers, model_answers, picture_of

# Trials of about five seconds that save each second: kills fall into every part of them, and yet they get on.
SOAK = Work("soak", 10**6, environ=SHORT | {"INCUMBENT_BUDGETS__STEPS": "300000"}, save_interval_s=1.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="of disturbance")
    parser.add_argument("--seed", type=int, default=0, help="of the kills")
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()) / "incumbent-soak")
    given = parser.parse_args()
    folder: Path = given.dir.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    tally = Tally.read(folder / "tally.json")
    try:
        iterations = _disturbed(folder / "disturbed", tally, folder / "tally.json", given.minutes * 60, given.seed)
        started_s = time.monotonic()
        _undisturbed(folder / "undisturbed", iterations)
        assert_same(picture_of(folder / "disturbed"), picture_of(folder / "undisturbed"))
    except PromiseBrokenError as error:
        print(f"BROKEN: {error}\n{tally}")
        return 1
    _report(tally, folder / "disturbed" / "run", time.monotonic() - started_s)
    return int(tally.orphans > 0)


def _disturbed(folder: Path, tally: Tally, path: Path, seconds: float, seed: int) -> int:
    """The iterations that it came to, and one more without disturbance."""
    with alone_on(SOAK.stage(folder)) as stage:
        disturber = Disturber(stage, tally, path)
        disturber.disturb(seconds, seed)
        disturber.stop()
        iterations = len(read_log(stage.run_dir).records) + 1
        print(f"stopped; on to iteration {iterations} without disturbance", flush=True)
        stage.flags = SOAK.stage(folder, iterations).flags
        stage.start_supervisor()
        stage.watch()
        stage.leave()
    assert stage.asker is not None
    tally.requests += stage.asker.asked
    kept = model_answers(stage.run_dir)
    assert_true_answers((given for given in stage.asker.answers if f"{given.target} {given.version}" in kept), kept)
    return iterations


def _undisturbed(folder: Path, iterations: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with alone_on(replace(SOAK, served=False).stage(folder, iterations)) as stage:
        stage.start()
        stage.watch()


def _report(tally: Tally, run_dir: Path, undisturbed_s: float) -> None:
    records = read_log(run_dir).records
    print(f"equal after {len(records)} iterations with {sum(record.promoted for record in records)} promotions")
    print(f"{tally.seconds:.0f} s disturbed, {undisturbed_s:.0f} s for the undisturbed run")
    print(f"{tally.starts} new starts of the supervisor, {tally.requests} requests, {tally.orphans} orphans")
    for act, times in sorted(tally.acts.items()):
        print(f"  {times:4d}  {act}")
    print("  ends of the supervisor by exit code: " + ", ".join(f"{code}: {n}" for code, n in tally.ends.items()))


if __name__ == "__main__":
    raise SystemExit(main())
