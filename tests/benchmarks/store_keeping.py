"""How fast experiences go in and out of files, what that takes in memory, and how long writers wait beside a retention.

    python -m tests.benchmarks.store_keeping [--rows 200000] [--url postgresql://…]

Every figure is of a process of its own. Memory is what a process grew by between a tenth of the rows and all of them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from supervisor.experience.caretaker import DAY_US
from supervisor.experience.keeping.retention import Retention
from supervisor.experience.keeping.rules import Ages
from supervisor.experience.opening import caretaker_of, open_store
from supervisor.experience.rows import Experiences
from supervisor.experience.store import Selection
from supervisor.experience.transport.exporting import exported, path_of
from supervisor.experience.transport.importing import checked, imported
from tests.support.experiences import TARGET, experiences, write

WIDTH = 64
BLOCK = 5000
NOW_US = 20_500 * DAY_US
MIB = 2**20


def episodes(count: int, first: int) -> Experiences:
    """Episodes of 200 steps, each leading to the next one's state, of a day long ago."""
    rows = experiences(count, seed=first, width=WIDTH, first=first)
    number = first + np.arange(count)
    states = np.concatenate([rows.states, rows.next_states[-1:]])
    changed = {
        "next_states": states[1:],
        "episodes": number // 200,
        "steps": (number % 200).astype(np.int32),
        "done": number % 200 == 199,
        "times": NOW_US - 10 * DAY_US + number,
    }
    return Experiences(**{**vars(rows), **changed})


def fill(url: str | None, folder: Path, rows: int) -> None:
    store = open_store(url, folder)
    for first in range(0, rows, BLOCK):
        write(store, episodes(min(BLOCK, rows - first), first))
    store.close()


def measure(work: str, url: str | None, folder: Path, kind: str, rows: int) -> dict[str, float]:
    """In a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.store_keeping", "--work", work, "--folder", str(folder)]
    command += ["--kind", kind, "--rows", str(rows), *(["--url", url] if url else [])]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def work(name: str, url: str | None, folder: Path, kind: str) -> dict[str, float]:
    watched = Peak()
    begin = time.monotonic()
    if name == "export":
        store = open_store(url, folder)
        rows = exported(store, Selection(TARGET), kind, path_of(folder / "out", TARGET, kind))
    else:
        store = open_store(None, folder / kind)
        file, mistakes = checked(path_of(folder / "out", TARGET, kind), None, 0, quarantine=False)
        assert file is not None, mistakes
        rows = imported(store, file, 0).rows
    return {"rows": rows, "seconds": time.monotonic() - begin, "peak_mib": watched.mib()}


class Peak:
    """The most memory that this process had."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._most = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            self._most = max(self._most, self._process.memory_info().rss)

    def mib(self) -> float:
        self._ended.set()
        self._thread.join()
        return self._most / MIB


def waits(url: str | None, folder: Path, until: threading.Event) -> list[float]:
    """How long commits of 256 rows took, one after the other, until told; ten a second at most."""
    store, taken = open_store(url, folder), []
    rows = experiences(256, width=WIDTH)
    fresh = Experiences(**{**vars(rows), "times": np.full(256, NOW_US)})
    while not until.wait(0.1):
        begin = time.monotonic()
        write(store, fresh)
        taken.append(1000 * (time.monotonic() - begin))
    store.close()
    return taken


def beside_a_retention(url: str | None, folder: Path) -> None:
    alone_end = threading.Event()
    threading.Timer(5, alone_end.set).start()
    alone = waits(url, folder, alone_end)
    ended = threading.Event()
    found: dict[str, float] = {}

    def retain() -> None:
        store = open_store(url, folder)
        begin = time.monotonic()
        kept = Retention(store, caretaker_of(store), folder / "experiences", Ages(30, 7)).run(NOW_US)
        found.update(rows=kept.cold_rows, seconds=time.monotonic() - begin)
        store.close()
        ended.set()

    thread = threading.Thread(target=retain)
    thread.start()
    beside = waits(url, folder, ended)
    thread.join()
    speed = found["rows"] / found["seconds"]
    print(f"retention: {found['rows']:.0f} rows in {found['seconds']:.1f} s, {speed:.0f} rows/s")
    for name, taken in (("alone", alone), ("beside a retention", beside)):
        told = ", ".join(f"{share} % {np.percentile(taken, share):.1f}" for share in (50, 95, 99))
        print(f"commits of 256 rows {name}: {told}, most {max(taken):.1f} ms of {len(taken)}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--url")
    parser.add_argument("--work")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--kind", default="")
    given = parser.parse_args()
    if given.work:
        print(json.dumps(work(given.work, given.url, given.folder, given.kind)))
        return
    with tempfile.TemporaryDirectory() as base:
        few, many = Path(base) / "few", Path(base) / "many"
        for folder, rows in ((few, given.rows // 10), (many, given.rows)):
            folder.mkdir()
            fill(None, folder, rows)
        print(f"{'':18}{'rows/s':>10}{'peak MiB':>10}{'growth MiB':>12}")
        for kind in ("parquet", "arrow", "npz", "minari"):
            for name in ("export", "import"):
                if name == "import":
                    for folder in (few, many):
                        (folder / kind).mkdir()
                small = measure(name, None, few, kind, given.rows)
                large = measure(name, None, many, kind, given.rows)
                growth, speed = large["peak_mib"] - small["peak_mib"], large["rows"] / large["seconds"]
                print(f"{kind + ' ' + name:18}{speed:>10.0f}{large['peak_mib']:>10.0f}{growth:>12.1f}", flush=True)
        if given.url:
            fill(given.url, many, given.rows)
        beside_a_retention(given.url, many)


if __name__ == "__main__":
    main()
