"""Disturbs one run for a long time, and counts what it did."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from supervisor.execution.attempts import exhausted
from supervisor.journal.trial_folder import all_folders
from tests.faults import real_processes
from tests.faults.cell import PromiseBrokenError
from tests.faults.real_stage import KINDS, Stage
from tests.support.remains import below

BETWEEN_S = (1.0, 20.0)
STOPPED_S = (1.0, 6.0)
APPEARS_S = 20.0  # how long a trial or a fork server that is to be struck is waited for
GONE_S = 15.0  # by then whatever belonged to a dead supervisor is gone
UNASKED = {0, -signal.SIGKILL, -signal.SIGINT, -signal.SIGTERM, 130}  # ends that a signal explains
ACTS = [
    *(f"kill {kind}" for kind in KINDS),
    *(f"stop {kind}" for kind in KINDS if kind != "all"),
    "interrupt supervisor",
    "terminate supervisor",
]


@dataclass
class Tally:
    """What was done so far, in a file, so that an interrupted soak goes on."""

    seconds: float = 0.0
    acts: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)  # of the supervisor, by exit code
    starts: int = 0  # of the supervisor
    requests: int = 0  # to the server
    orphans: int = 0

    @classmethod
    def read(cls, path: Path) -> Tally:
        if not path.exists():
            return cls()
        known = json.loads(path.read_text())
        return cls(**known | {name: Counter(known[name]) for name in ("acts", "ends")})

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(vars(self)))


class Disturber:
    """Strikes the run on the stage, which has no limit of iterations, and starts again what ended."""

    def __init__(self, stage: Stage, tally: Tally, path: Path) -> None:
        self._stage = stage
        self._tally = tally
        self._path = path
        self._doomed: dict[tuple[int, str], float] = {}  # must be gone at that time

    def disturb(self, seconds: float, seed: int) -> None:
        """Until that much time was spent on it, over all calls."""
        self._stage.start()
        spent_s = self._tally.seconds
        started_s = time.monotonic()
        while self._tally.seconds < seconds:
            number = self._tally.acts.total()
            rng = random.Random(f"{seed}/{number}")
            self._wait(rng.uniform(*BETWEEN_S))
            self._act(_act_of(seed, number), rng)
            self._tally.seconds = spent_s + time.monotonic() - started_s
            self._tally.write(self._path)
            if number % 20 == 0:
                print(f"{self._tally.seconds:.0f} s, {number + 1} acts", flush=True)

    def stop(self) -> None:
        """Ask the supervisor to save and leave."""
        self._wait(1.0)
        assert self._stage.supervisor is not None
        self._stage.supervisor.terminate()
        self._stage.supervisor.wait(timeout=60)

    def _wait(self, seconds: float, idle: bool = False, for_kind: str | None = None) -> None:
        """Let it work, starting again what ended unless `idle`, at most until there is somebody of a kind; look for
        what should be gone."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s and not (for_kind and self._stage.present(for_kind)):
            if not idle:
                self._start_again()
            self._bury()
            time.sleep(0.1)

    def _start_again(self) -> None:
        stage = self._stage
        assert stage.supervisor is not None
        code = stage.supervisor.poll()
        if code is not None:
            self._tally.ends[str(code)] += 1
            if code not in UNASKED:
                raise PromiseBrokenError(f"the supervisor left with {code}:\n{stage.console()}")
            due_s = time.monotonic() + GONE_S
            dead = [*real_processes.fork_servers(), *real_processes.trials()]
            self._doomed |= {(row.pid, row.began): due_s for row in dead}
            stage.start_supervisor()
            self._tally.starts += 1
        stage.watch_server()

    def _act(self, act: str, rng: random.Random) -> None:
        verb, _, kind = act.partition(" ")
        if kind in ("trial", "fork server"):
            self._wait(APPEARS_S, for_kind=kind)
        if act in ("kill trial", "kill fork server") and self._would_fail_a_trial():
            act, kind = "kill supervisor", "supervisor"
        if verb == "kill":
            struck = self._stage.strike(kind)
        elif verb == "stop":
            rows = self._stage.present(kind)
            struck = real_processes.send(rows, signal.SIGSTOP)
            self._wait(rng.uniform(*STOPPED_S) if struck else 0.0, idle=True)
            real_processes.send(rows, signal.SIGCONT)
        else:
            struck = real_processes.send(
                self._stage.present(kind), signal.SIGINT if verb == "interrupt" else signal.SIGTERM
            )
        self._tally.acts[act if struck else "nobody there"] += 1

    def _would_fail_a_trial(self) -> bool:
        """Whether one more process of a trial that dies now is the last of its attempts."""
        for folder in all_folders(self._stage.run_dir):
            if folder.was_committed:
                continue
            try:
                ends = [(str(fact["mark"]), bool(fact["counts"])) for fact in folder.facts() if fact["fact"] == "exit"]
                if exhausted([*ends, (folder.progress_mark(), True)]):
                    return True
            except OSError:  # it is at work there
                return True
        return False

    def _bury(self) -> None:
        """Collect adopted zombies, as init would; count who outlived a dead supervisor."""
        ours = {process.pid for process in (self._stage.supervisor, self._stage.server) if process is not None}
        rows = below(os.getpid())
        for row in rows:
            if row.state == "Z" and row.parent == os.getpid() and row.pid not in ours:
                os.waitpid(row.pid, os.WNOHANG)
        alive = {(row.pid, row.began) for row in rows if row.state != "Z"}
        late = [key for key, due_s in self._doomed.items() if key in alive and time.monotonic() > due_s]
        for key in late:
            self._tally.orphans += 1
            print(f"outlived its supervisor: {key}", flush=True)
        self._doomed = {key: due_s for key, due_s in self._doomed.items() if key in alive and key not in late}


def _act_of(seed: int, number: int) -> str:
    """Each act once before any comes again, in an order of its own every time."""
    turn, place = divmod(number, len(ACTS))
    return random.Random(f"{seed}/turn {turn}").sample(ACTS, len(ACTS))[place]
