"""A real lesson whose store is stopped, cut, locked or taken away in its midst comes to the very line and model file of
an undisturbed one.

    python -m tests.proofs.store_outages [--database sqlite|postgres] [--patience]

The supervisor and its trial are real processes. Some outages come with a `kill -9` of the supervisor: its next start
meets the silent store. With --patience one lasts until the trial has left and is taken up again (80 seconds more).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from supervisor.contract import Status
from supervisor.experience.opening import URL_VARIABLE
from supervisor.experience.postgres.schema import create
from supervisor.experience.postgres.store import open_postgres
from supervisor.experience.store import ExperienceStore, Parcel
from supervisor.journal.events import EVENTS_NAME
from supervisor.journal.log import read_log
from tests.support.cable import Cable
from tests.support.experiences import experiences
from tests.support.postgres import Server, database, running_server
from tests.support.processes import finish, kill, start, wait_for
from tests.support.small_run import comparable
from tests.support.store_worlds import PostgresWorld, SqliteWorld, World

TARGET, ROWS, WIDTH = "aggressive/combat_dqn", 20_000, 64
LESSON = "trials/000002"
MIDST = 20  # gradient steps of 300
CONFIGURATION = """
run: {targets: [aggressive/combat_dqn], games: 50, baseline_games: 50, metrics_port: null}
budgets: {steps: 2000}
continuous:
  {search: false, check_interval_s: 1, memory_rows: 1024, max_steps_per_iteration: 300, batch_size: 64,
   gradient_accumulation_steps: 1, checkpoint_frequency: 50}
"""


@dataclass(frozen=True)
class Case:
    database: str
    fault: str
    killed: bool = False  # the supervisor, while the store is silent
    until_left: bool = False  # the trial's process


CASES = (
    Case("sqlite", "gone", killed=True),
    Case("sqlite", "no database", killed=True),
    Case("postgres", "restarted"),
    Case("postgres", "crashed"),
    Case("postgres", "cable cut"),
    Case("postgres", "connection ended"),
    Case("postgres", "restarted", killed=True),
    Case("postgres", "cable cut", killed=True),
)
PATIENT = Case("postgres", "cable cut", until_left=True)


Start = Callable[[], subprocess.Popen[bytes]]
Disturb = Callable[[Path, World, Start], None]


class Site:
    """Where every run begins: a folder with an incumbent, and stores of the same play."""

    def __init__(self, folder: Path, server: Server | None) -> None:
        self._folder, self._server = folder, server
        self._configuration = folder / "configuration.yaml"
        self._configuration.write_text(CONFIGURATION)
        (folder / "play").mkdir()
        fill(SqliteWorld(folder / "play").open())
        if server is not None:
            server.make_database("filled")
            create(server.address("filled"))
            fill(open_postgres(server.address("filled")))
        self.begun = folder / "begun"
        finish(self.start(self.begun, f"sqlite:///{folder}/nothing.db", 1), self.begun)

    def start(self, run_dir: Path, url: str, iterations: int) -> subprocess.Popen[bytes]:
        flags = ("--config", str(self._configuration), "--max-iterations", str(iterations))
        return start(run_dir, *flags, environ={URL_VARIABLE: url})

    @contextlib.contextmanager
    def world(self, kind: str) -> Iterator[World]:
        with contextlib.ExitStack() as lasting:
            folder = Path(lasting.enter_context(tempfile.TemporaryDirectory()))
            if kind == "sqlite":
                shutil.copytree(self._folder / "play", folder / "play")
                yield SqliteWorld(folder / "play")
                return
            assert self._server is not None
            address = lasting.enter_context(database(self._server, "filled"))
            cable = lasting.enter_context(contextlib.closing(Cable(folder, self._server.folder)))
            yield PostgresWorld(self._server, address.partition("?")[0].rpartition("/")[2], cable)

    def run(self, name: str, kind: str, disturb: Disturb) -> object:
        """What a run comes to: its lines without clocks, and the bytes of its model files."""
        run_dir = self._folder / name
        shutil.copytree(self.begun, run_dir)
        with self.world(kind) as world:
            disturb(run_dir, world, lambda: self.start(run_dir, world.url, 2))
        *_, lesson = records = read_log(run_dir).records
        assert (lesson.status, lesson.metrics["new_rows"]) == (Status.COMPLETE, ROWS), lesson
        lines = comparable(records)
        for line in lines:
            line.pop("chain")
            line["lesson"] = replace(line["lesson"], since_us=0) if line["lesson"] is not None else None  # type: ignore[type-var]
        models = {path.name: path.read_bytes() for path in sorted((run_dir / "models").glob("*.onnx"))}
        return lines, models


def fill(store: ExperienceStore) -> None:
    rows, steps = experiences(ROWS, width=WIDTH), np.arange(ROWS)
    now_us = int(time.time() * 1e6)
    rows = replace(
        rows,
        times=now_us + steps,
        rewards=(steps % 7 == 0).astype(np.float32),
        episodes=steps // 20 + 1,
        steps=(steps % 20).astype(np.int32),
        done=steps % 20 == 19,
    )
    store.write([Parcel([(TARGET, rows)])])
    store.close()


def undisturbed(run_dir: Path, world: World, start_it: Start) -> None:
    finish(start_it(), run_dir)


def disturbed(case: Case, run_dir: Path, world: World, start_it: Start) -> None:
    fault, running = world.faults[case.fault], start_it()
    heartbeat = run_dir / LESSON / "heartbeat"
    wait_for("the lesson is in its midst", lambda: heartbeat.exists() and int(heartbeat.read_text() or 0) >= MIDST)
    fault.begin()
    if case.killed:
        kill(running)
        running = start_it()
    wait_for("it was told", lambda: "store_silent" in events(run_dir))
    if case.until_left:
        wait_for("the trial has left", lambda: b'"store_silent"' in (run_dir / LESSON / "facts.jsonl").read_bytes())
    fault.end()
    finish(running, run_dir)
    told = [event for event in events(run_dir) if event.startswith("store_")]
    assert told == ["store_silent", "store_answers"], told


def events(run_dir: Path) -> list[str]:
    whole = (run_dir / EVENTS_NAME).read_bytes().split(b"\n")[:-1]
    return [json.loads(line)["event"] for line in whole]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=("sqlite", "postgres"))
    parser.add_argument("--patience", action="store_true")
    asked = parser.parse_args()
    cases = [case for case in (*CASES, *[PATIENT] * asked.patience) if asked.database in (None, case.database)]
    same: list[bool] = []
    with tempfile.TemporaryDirectory() as folder, running_server() as server:
        site = Site(Path(folder), server)
        controls = {kind: site.run(f"control {kind}", kind, undisturbed) for kind in {case.database for case in cases}}
        print("| database | fault | supervisor killed | same line and models | seconds |\n|---|---|---|---|---:|")
        for number, case in enumerate(cases):
            began_s = time.monotonic()
            same.append(site.run(f"run {number}", case.database, partial(disturbed, case)) == controls[case.database])
            took_s = time.monotonic() - began_s
            killed = "yes" if case.killed else "no"
            print(f"| {case.database} | {case.fault} | {killed} | {same[-1]} | {took_s:.0f} |", flush=True)
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
