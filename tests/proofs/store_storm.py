"""Nothing lost and nothing read twice while eight programs write and the reader is killed every second.

    python -m tests.proofs.store_storm [--seconds 30]

The writers are processes with transactions of random length, one in ten rolled back. The reader is a process that is
killed with SIGKILL; it keeps its position and the rows' numbers in one file, made durable at once, and goes on there.
Beside it two readers work as is often done, by the time of a row and by its id: they must lose rows, or the storm was
none and the program fails.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import psycopg

from supervisor.experience.postgres.schema import create
from supervisor.experience.postgres.store import open_postgres
from supervisor.experience.postgres.writing import write
from supervisor.experience.store import BEGINNING, Parcel, Position, Selection
from tests.support.experiences import END, TARGET, experiences
from tests.support.postgres import running_server
from tests.support.processes import wait_for

WRITERS = 8
NAIVE = {
    "by time": (
        'SELECT episode, "timestamp" FROM ml_experience_replay WHERE "timestamp" > %s ORDER BY 2 LIMIT 256',
        "1970-01-01",
    ),
    "by id": ("SELECT episode, id FROM ml_experience_replay WHERE id > %s ORDER BY 2 LIMIT 256", 0),
}


@dataclass(frozen=True)
class Result:
    reader: str
    got: int
    lost: int
    repeated: int


def writer(url: str, seed: int, stop: Path) -> None:
    """Until that file is there. Rows carry a number of their own as episode, and as time that of their transaction's
    beginning, as `now()` gives it."""
    rng, number = random.Random(seed), seed << 40
    with psycopg.connect(url) as connection:
        while not stop.exists():
            for _ in range(rng.randint(1, 5)):
                now = connection.execute("SELECT (extract(epoch FROM now()) * 1000000)::bigint").fetchone()[0]
                rows = experiences(rng.randint(1, 20), seed=seed)
                rows.times[:] = now
                rows.episodes[:] = np.arange(number, number + len(rows))
                number += len(rows)
                write(connection, [Parcel([(TARGET, rows)])])
                if rng.random() < 0.3:
                    time.sleep(rng.random() * 0.05)  # a transaction takes as long as it takes
            connection.rollback() if rng.random() < 0.1 else connection.commit()


def reader(url: str, kept: Path, stop: Path) -> None:
    """From where the file says until it is killed, or until `stop` is there and no row is left."""
    store, position = open_postgres(url), last_position(kept)
    with kept.open("ab") as file:
        while True:
            leave, got = stop.exists(), 0
            for page in store.stream(Selection(TARGET), position, END):
                got, position = got + len(page.rows), page.last
                file.write(json.dumps([str(position), page.rows.episodes.tolist()]).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            if leave and not got:
                return
            time.sleep(0.002)


def last_position(kept: Path) -> Position:
    """A line that was being written when its writer was killed is cut off."""
    data = kept.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(kept, len(whole))
    return Position.parse(json.loads(whole.splitlines()[-1])[0]) if whole else BEGINNING


def naive(url: str, query: str, mark: object, stop: threading.Event, got: list[int]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        while True:
            leave, found = stop.is_set(), connection.execute(query.encode(), (mark,)).fetchall()
            for number, mark in found:  # noqa: B007  # the last one's mark counts
                got.append(number)
            if leave and not found:
                return
            stop.wait(0.002)


def process(work: Callable[..., None], *given: object) -> BaseProcess:
    """A start takes milliseconds: all that is imported is there already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["supervisor.experience.postgres.store", "tests.support.postgres"])
    made = context.Process(target=work, args=given)
    made.start()
    return made


def storm(url: str, folder: Path, seconds: float, kill_every_s: float = 1.0) -> tuple[list[Result], int]:
    """What each reader got of all that was committed, and how often ours was killed."""
    kept, ended, stop, kills = folder / "kept.jsonl", folder / "ended", threading.Event(), 0
    kept.touch()
    naive_got: dict[str, list[int]] = {name: [] for name in NAIVE}
    threads = [
        threading.Thread(target=naive, args=(url, query, mark, stop, naive_got[name]))
        for name, (query, mark) in NAIVE.items()
    ]
    for thread in threads:
        thread.start()
    writers = [process(writer, url, seed, ended) for seed in range(WRITERS)]
    reading = process(reader, url, kept, ended)
    began, rng = time.monotonic(), random.Random(0)
    while time.monotonic() < began + seconds:
        size = kept.stat().st_size
        wait_for("the reader got something", lambda size=size: kept.stat().st_size > size)
        stop.wait(rng.random() * kill_every_s)
        reading.kill()
        reading.join()
        kills += 1
        reading = process(reader, url, kept, ended)
    ended.touch()
    for one in (*writers, reading):
        one.join()
        assert one.exitcode == 0, f"{one.name} failed"
    stop.set()
    for thread in threads:
        thread.join()
    ours = [number for line in kept.read_bytes().splitlines() for number in json.loads(line)[1]]
    with psycopg.connect(url) as connection:
        stored = {row[0] for row in connection.execute("SELECT episode FROM ml_experience_replay")}
    results = [result("by (txid, id) below the horizon", ours, stored)]
    return results + [result(f"naive, {name}", got, stored) for name, got in naive_got.items()], kills


def result(name: str, got: list[int], stored: set[int]) -> Result:
    twice = sum(count - 1 for count in Counter(got).values())
    return Result(name, len(got), len(stored - set(got)), twice + len(set(got) - stored))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    asked = parser.parse_args()
    with running_server() as server, tempfile.TemporaryDirectory() as folder:
        create(server.url)
        results, kills = storm(server.url, Path(folder), asked.seconds)
    print(f"{WRITERS} writers, {asked.seconds:.0f} s, reader killed {kills} times\n")
    print("| reader | rows got | lost | repeated |\n|---|---|---|---|")
    for found in results:
        print(f"| {found.reader} | {found.got:,} | {found.lost:,} | {found.repeated:,} |")
    return 0 if holds(results) else 1


def holds(results: list[Result]) -> bool:
    """Ours got every row once, and each of the others lost some."""
    ours, *others = results
    return ours.got > 0 and ours.lost == ours.repeated == 0 and all(found.lost for found in others)


if __name__ == "__main__":
    sys.exit(main())
