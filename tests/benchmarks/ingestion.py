"""How many experiences a server takes in a second, in both forms of body, and how long an action takes meanwhile.

    python -m tests.benchmarks.ingestion [--seconds 5] [--rounds 3] [--rate 300] [--folder DIR]

One server with one small model, its store an SQLite file in DIR, every answer durable (fsync). Inference is asked for
at a steady rate by one client; its latency is taken by turns without and with somebody who brings experiences as fast
as the server takes them, and at a fifth of that. Whoever brings them would be on another machine: here that one goes
last where there are too few processors.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from supervisor.experience.intake import frame
from supervisor.experience.intake.options import IntakeOptions
from supervisor.experience.intake.reading import JSON_LINES
from tests.support import onnx_models as models
from tests.support.experiences import experiences
from tests.support.intake_rows import as_lines
from tests.support.served_folder import TARGET, ServedFolder
from tests.support.server_process import ServerProcess

KINDS = {"frame": frame.CONTENT_TYPE, "lines": JSON_LINES}
ROWS = 256
CONNECTIONS = 4
NICE = 19


def bring(port: int, kind: str, seconds: float, rows_a_second: float) -> int:
    """Rows stored, from some connections at once; of 0 a second as many as the server takes."""
    sent = experiences(ROWS, width=models.STATE)
    body = frame.encode(TARGET, sent) if kind == "frame" else as_lines(sent, TARGET)
    stored = [0] * CONNECTIONS
    ends_s = time.perf_counter() + seconds
    pause_s = ROWS * CONNECTIONS / rows_a_second if rows_a_second else 0.0

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        due_s = time.perf_counter() + pause_s * number / CONNECTIONS
        while time.perf_counter() < ends_s:
            if pause_s:
                time.sleep(max(0.0, due_s - time.perf_counter()))
                due_s += pause_s
            connection.request("POST", "/experience", body, {"Content-Type": KINDS[kind]})
            response = connection.getresponse()
            told = json.loads(response.read())
            if response.status == 200:
                stored[number] += told["accepted"]
            elif response.status != 503:
                raise AssertionError(told)
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(stored)


@contextmanager
def bringing(port: int, kind: str, seconds: float, rows_a_second: float) -> Iterator[Callable[[], float]]:
    """In a process of its own; what is given tells its rows a second, at the end."""
    arguments = [sys.executable, "-m", __spec__.name, "--bring", str(port), kind, str(seconds), str(rows_a_second)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    with process.stdout as out:
        yield lambda: int(out.read()) / seconds
    assert process.wait() == 0


def latencies_ms(port: int, seconds: float, rate: float) -> list[float]:
    """Of one state at a time, asked for at a steady rate whether or not the last answer came late."""
    body = json.dumps({"state": [0.5] * models.STATE}).encode()
    head = f"POST /infer/{TARGET} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    took: list[float] = []
    with socket.create_connection(("127.0.0.1", port), timeout=60) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        due_s = began_s = time.perf_counter()
        while due_s < began_s + seconds:
            time.sleep(max(0.0, due_s - time.perf_counter()))
            raw.sendall(head + body)
            data = b""
            while not data.endswith(b"}"):
                data += raw.recv(65536)
            took.append((time.perf_counter() - due_s) * 1e3)
            due_s += 1 / rate
    return took


def told(name: str, rows_a_second: float, took: list[float]) -> None:
    p50, p99 = np.percentile(took, [50, 99])
    print(f"{name:<28} {rows_a_second:>10,.0f} {p50:>8.2f} {p99:>8.2f} {max(took):>8.2f}", flush=True)


def measured(port: int, seconds: float, rounds: int, rate: float) -> None:
    alone: list[float] = []
    fastest = {kind: run_alone(port, kind, seconds) for kind in KINDS}
    beside: dict[tuple[str, float], tuple[list[float], list[float]]] = {}
    for _ in range(rounds):
        alone += latencies_ms(port, seconds, rate)
        for kind in KINDS:
            for wanted in (fastest[kind] / 5, 0.0):
                with bringing(port, kind, seconds, wanted) as speed:
                    took = latencies_ms(port, seconds * 0.9, rate)
                    speeds, every = beside.setdefault((kind, wanted), ([], []))
                    speeds.append(speed())
                    every += took
    print(f"\n{'':<28} {'rows/s':>10} {'p50 ms':>8} {'p99 ms':>8} {'worst':>8}   of one inference")
    for kind, speed_alone in fastest.items():
        print(f"{kind + ', nobody else':<28} {speed_alone:>10,.0f}")
    told("inference alone", 0, alone)
    for (kind, wanted), (speeds, took) in beside.items():
        told(f"beside {kind}, {'a fifth' if wanted else 'full speed'}", float(np.median(speeds)), took)


def run_alone(port: int, kind: str, seconds: float) -> float:
    with bringing(port, kind, seconds, 0.0) as speed:
        return speed()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=300.0, help="inferences a second")
    parser.add_argument("--folder", type=Path, help="where the store lies, on the disk that is to be measured")
    parser.add_argument("--bring", nargs=4, metavar=("PORT", "KIND", "SECONDS", "ROWS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bring:
        port, kind, seconds, rows = options.bring
        os.nice(NICE)
        print("begun", flush=True)
        print(bring(int(port), kind, float(seconds), float(rows)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        folder = ServedFolder(Path(place) / "run")
        folder.promote(models.mlp(1))
        with ServerProcess(folder.path, taking=IntakeOptions()) as server:
            measured(server.port, options.seconds, options.rounds, options.rate)


if __name__ == "__main__":
    main()
