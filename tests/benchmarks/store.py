"""How fast experiences go in and out, beside psql's binary \\copy on the same server in the same run.

    python -m tests.benchmarks.store [--rows 1000000] [--rounds 5] [--fsync on]
    python -m tests.benchmarks.store --only-memory --rows 10000000

A row is two states of 64 float32. psql reads the same columns in the same order and throws them away; it writes the
same bytes from a file in one transaction, where we commit every 256 rows, each parcel with its key. What is compared
takes turns, and the best of the rounds counts: other programs can only make a run slower. They do so unevenly, for a
reader in Python needs more of the processor than psql: measure on a machine that does nothing else. Without --fsync on
the server does not wait for the disk, which would be all that is measured of small commits.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.experience.postgres.copying import copied
from supervisor.experience.postgres.encoding import HEADER, TRAILER, encoded
from supervisor.experience.postgres.schema import create
from supervisor.experience.postgres.store import PostgresStore, open_postgres
from supervisor.experience.rows import joined
from supervisor.experience.sqlite.store import SqliteStore
from supervisor.experience.store import BEGINNING, ExperienceStore, Parcel, Selection
from tests.support.experiences import END, TARGET, experiences
from tests.support.postgres import psql, running_server

WIDTH, COMMIT_ROWS, LOAD_ROWS = 64, 256, 16_384
WANTED = {"copy": 1.0, "stream": 0.90, "sqlite": 0.9, "write": 0.6}
LARGEST_GROWTH_MB = 5.0
SELECTION = Selection(TARGET)


@dataclass(frozen=True)
class Line:
    what: str
    beside: str
    ratio: float
    wanted: float
    rows_per_s: float

    @property
    def holds(self) -> bool:
        return self.ratio >= self.wanted


def rows_per_s(count: int, work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def best_of(rounds: int, count: int, **works: Callable[[], Any]) -> dict[str, float]:
    """Rows a second of each; they take turns."""
    found = [{name: rows_per_s(count, work) for name, work in works.items()} for _ in range(rounds)]
    return {name: max(one[name] for one in found) for name in works}


def run_psql(url: str, command: str) -> None:
    subprocess.run([psql(), "-X", "-q", "-d", url, "-c", command], check=True, stdout=subprocess.DEVNULL)


def fill(store: ExperienceStore, count: int) -> int:
    """The number of rows written, at least `count`."""
    part = joined([experiences(COMMIT_ROWS, seed, WIDTH) for seed in range(LOAD_ROWS // COMMIT_ROWS)])
    for _ in range(0, count, LOAD_ROWS):
        store.write([Parcel([(TARGET, part)])])
    return -(-count // LOAD_ROWS) * LOAD_ROWS


def stream(store: ExperienceStore) -> None:
    for page in store.stream(SELECTION, BEGINNING, END):
        page.rows.states[0, 0]  # it is there


def copy_out(store: PostgresStore, query: str) -> None:
    """What comes is thrown away, as psql does it."""
    connection = store.connection
    connection.wait(copied(connection.pgconn, f"COPY ({query}) TO STDOUT (FORMAT binary)".encode(), 1024, len))


def reading(url: str, count: int, rounds: int) -> tuple[float, list[Line]]:
    """Rows a second of psql, and the others beside it."""
    store = open_postgres(url)
    columns = store.table.selected().as_string(store.connection)
    names = [f"{name} = '{value}'" for name, value in zip(("archetype", "model_type"), TARGET.split("/"), strict=True)]
    order = store.table.order().as_string()
    query = f"SELECT {columns} FROM ml_experience_replay WHERE {' AND '.join(names)} ORDER BY {order}"
    with tempfile.TemporaryDirectory() as folder:
        embedded = SqliteStore(Path(folder) / "experiences.db")
        fill(embedded, count)
        found = best_of(
            rounds,
            count,
            psql=lambda: run_psql(url, f"\\copy ({query}) to stdout with (format binary)"),
            copy=lambda: copy_out(store, query),
            stream=lambda: stream(store),
            sqlite=lambda: stream(embedded),
        )
        embedded.close()
    store.close()
    beside = {"copy": "psql", "stream": "psql", "sqlite": "stream"}
    lines = [Line(name, other, found[name] / found[other], WANTED[name], found[name]) for name, other in beside.items()]
    return found["psql"], lines


def writing(url: str, count: int, rounds: int) -> Line:
    """Parcels with keys, a commit each, beside psql's one COPY of the same rows into the same kind of table."""
    store, part = open_postgres(url), experiences(COMMIT_ROWS, 0, WIDTH)
    commits = count // COMMIT_ROWS
    keys = iter(range(sys.maxsize))

    def ours() -> None:
        for _ in range(commits):
            store.write([Parcel([(TARGET, part)], (), "benchmark", str(next(keys)))])

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.bin"
        file.write_bytes(b"".join([HEADER, *[encoded(TARGET, part)] * commits, TRAILER]))
        columns = 'archetype, model_type, "timestamp", state, action, controls, reward, next_state, done, priority'
        copy = f"\\copy ml_experience_replay ({columns}, episode, step, version) from '{file}' with (format binary)"

        def clean() -> None:
            store.connection.execute("TRUNCATE ml_experience_replay, ml_experience_batches")
            store.connection.execute("CHECKPOINT")

        found: dict[str, list[float]] = {"psql": [], "write": []}
        for _ in range(rounds):
            clean()
            found["psql"].append(rows_per_s(commits * COMMIT_ROWS, lambda: run_psql(url, copy)))
            clean()
            found["write"].append(rows_per_s(commits * COMMIT_ROWS, ours))
    store.close()
    best = {name: max(values) for name, values in found.items()}
    return Line("write", "psql", best["write"] / best["psql"], WANTED["write"], best["write"])


def memory_growth_mb(url: str) -> float:
    """Of this process from the hundred thousandth row to the last."""
    store, rows, first, last = open_postgres(url), 0, 0, 0
    for number, page in enumerate(store.stream(SELECTION, BEGINNING, END)):
        rows += len(page.rows)
        if number % 64 == 0 and rows > 100_000:
            last = resident_bytes()
            first = first or last
    store.close()
    return (last - first) / 2**20


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fsync", choices=("on", "off"), default="off")
    parser.add_argument("--only-memory", action="store_true")
    asked = parser.parse_args()
    psql_rows_per_s, lines = 0.0, list[Line]()
    with running_server(shared_buffers="1GB", max_wal_size="8GB", fsync=asked.fsync) as server:
        create(server.url)
        if not asked.only_memory:
            lines.append(writing(server.url, min(asked.rows, 200_000), asked.rounds))
        store = open_postgres(server.url, statement_s=3600)
        store.connection.execute("TRUNCATE ml_experience_replay")
        rows = fill(store, asked.rows)
        store.connection.execute("VACUUM ANALYZE ml_experience_replay")
        version = store.connection.info.server_version // 10_000
        store.close()
        growth = memory_growth_mb(server.url)
        if not asked.only_memory:
            psql_rows_per_s, read = reading(server.url, rows, asked.rounds)
            lines += read
    print(f"PostgreSQL {version}, fsync {asked.fsync}, {rows:,} rows, best of {asked.rounds}")
    print(f"memory grows by {growth:.1f} MB while all rows are read; at most {LARGEST_GROWTH_MB:.0f} wanted")
    if lines:
        print("\n| what | rows/s | beside | ratio | wanted |\n|---|---|---|---|---|")
        print(f"| psql reads | {psql_rows_per_s:,.0f} | | | |")
    for line in lines:
        print(f"| {line.what} | {line.rows_per_s:,.0f} | {line.beside} | {line.ratio:.2f} | {line.wanted:.2f} |")
    return 0 if all(line.holds for line in lines) and growth <= LARGEST_GROWTH_MB else 1


if __name__ == "__main__":
    sys.exit(main())
