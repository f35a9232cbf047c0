"""How fast experiences go in and out, beside psql's binary \\copy on the same server in the same run.

    python -m tests.benchmarks.store [--rows 1000000] [--rounds 5] [--fsync on]

A row is two states of 64 float32. psql reads the same columns in the same order and throws them away; it writes the
same bytes from a file in one transaction. What is compared takes turns, and the best of the rounds counts: other
programs can only make a run slower. With many rows (--rows 10000000) the growth of memory over them is what there is
to see. Without --fsync on the server does not wait for the disk: a commit every 256 rows would measure that alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

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
WANTED = {"stream": 0.90, "bare COPY": 1.0, "write": 0.6, "SQLite stream": 0.9, "memory": 5.0}
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


def reading(url: str, count: int, rounds: int) -> tuple[dict[str, float], Iterator[Line]]:
    store = open_postgres(url)
    count = fill(store, count)
    store.connection.execute("SET statement_timeout = 0")
    store.connection.execute("VACUUM ANALYZE ml_experience_replay")
    columns = store.table.selected().as_string(store.connection)
    names = [f"{name} = '{value}'" for name, value in zip(("archetype", "model_type"), TARGET.split("/"), strict=True)]
    query = f"SELECT {columns} FROM ml_experience_replay WHERE {' AND '.join(names)}"
    ordered = f"{query} ORDER BY txid, id"
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        embedded = SqliteStore(Path(folder) / "experiences.db")
        fill(embedded, count)
        found = best_of(
            rounds,
            count,
            psql=lambda: run_psql(url, f"\\copy ({ordered}) to stdout with (format binary)"),
            copy=lambda: copy_out(store, ordered),
            stream=lambda: stream(store),
            sqlite=lambda: stream(embedded),
        )
        embedded.close()
    store.close()
    return found, iter(
        [
            Line("stream", "psql \\copy to stdout", found["stream"] / found["psql"], WANTED["stream"], found["stream"]),
            Line(
                "bare COPY", "psql \\copy to stdout", found["copy"] / found["psql"], WANTED["bare COPY"], found["copy"]
            ),
            Line(
                "SQLite stream", "stream", found["sqlite"] / found["stream"], WANTED["SQLite stream"], found["sqlite"]
            ),
        ]
    )


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
    return Line(
        f"write, {COMMIT_ROWS} rows a commit",
        "psql \\copy from",
        best["write"] / best["psql"],
        WANTED["write"],
        best["write"],
    )


def memory_growth_mb(url: str) -> tuple[float, int]:
    """Of this process from the first pages to the last of all rows, and how many those were."""
    store = open_postgres(url)
    first = last = rows = 0
    for number, page in enumerate(store.stream(SELECTION, BEGINNING, END)):
        rows += len(page.rows)
        if number % 64 == 0:
            last = resident_bytes()
            first = first or (last if rows > 100_000 else 0)
    store.close()
    return (last - first) / 2**20, rows


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fsync", choices=("on", "off"), default="off")
    asked = parser.parse_args()
    with running_server(shared_buffers="1GB", max_wal_size="8GB", fsync=asked.fsync) as server:
        create(server.url)
        with psycopg.connect(server.url) as connection:
            version = connection.info.server_version // 10_000
        lines = [writing(server.url, min(asked.rows, 200_000), asked.rounds)]
        found, read = reading(server.url, asked.rows, asked.rounds)
        lines += read
        growth, rows = memory_growth_mb(server.url)
    print(
        f"PostgreSQL {version}, fsync {asked.fsync}; psql reads {found['psql']:,.0f} rows/s; best of {asked.rounds}\n"
    )
    print("| what | rows/s | beside | ratio | wanted |\n|---|---|---|---|---|")
    for line in lines:
        print(f"| {line.what} | {line.rows_per_s:,.0f} | {line.beside} | {line.ratio:.2f} | {line.wanted:.2f} |")
    print(f"\nmemory grows by {growth:.1f} MB over {rows:,} rows; at most {WANTED['memory']:.0f} wanted")
    return 0 if all(line.holds for line in lines) and growth <= WANTED["memory"] else 1


if __name__ == "__main__":
    sys.exit(main())
