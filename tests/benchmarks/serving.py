"""What the HTTP interface costs: inference requests a second against the same model run in a bare loop.

    python -m tests.benchmarks.serving [--seconds 3] [--clients 8]

One run, one machine: read the ratios. Server, clients and the bare loop share the machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime
import psutil

from supervisor.serving.options import ServerOptions
from tests.support import onnx_models as models
from tests.support.served_folder import TARGET, ServedFolder
from tests.support.server_process import ServerProcess

HIDDEN = 1024  # 77 k parameters
RELOAD_EVERY_S = 0.25
WIDTHS = (9, 7, 8, 8, 8, 10, 7)


@dataclass
class Load:
    """What some clients met."""

    latencies_s: list[float] = field(default_factory=list)
    failed: int = 0
    seconds: float = 0.0
    server_cpu_s: float = 0.0

    def row(self, name: str, bare_per_s: float) -> str:
        per_s = len(self.latencies_s) / self.seconds
        p50, p99 = (1e3 * float(np.quantile(self.latencies_s, q)) for q in (0.5, 0.99))
        cpu_us = 1e6 * self.server_cpu_s / max(1, len(self.latencies_s))
        cells = (
            f"{per_s:.0f}",
            f"{per_s / bare_per_s:.3f}",
            f"{p50:.2f}",
            f"{p99:.2f}",
            f"{1e3 * max(self.latencies_s):.1f}",
            f"{cpu_us:.0f}",
            f"{self.failed}",
        )
        return f"{name:24}" + "".join(f" {cell:>{width}}" for cell, width in zip(cells, WIDTHS, strict=True))


async def _client(port: int, body: bytes, until: float, load: Load) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = b"POST /infer/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (TARGET.encode(), len(body)) + body
    while (started := time.perf_counter()) < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        load.latencies_s.append(time.perf_counter() - started)
        load.failed += not head.startswith(b"HTTP/1.1 200 ")
    writer.close()


async def _reloads(folder: ServedFolder, server: ServerProcess, until: float) -> int:
    """Two versions in turn, by name."""
    names = [version.name for version in (folder.active[TARGET], folder.commit(models.mlp(2, HIDDEN)))]
    count = 0
    while time.perf_counter() < until:
        await asyncio.to_thread(server.post, f"/reload/{TARGET}", {"version": names[(count + 1) % 2]})
        count += 1
        await asyncio.sleep(RELOAD_EVERY_S)
    return count


async def _measure(server: ServerProcess, rows: int, clients: int, seconds: float, folder: ServedFolder | None) -> Load:
    """`folder` is given where models are to be reloaded meanwhile."""
    states = np.random.default_rng(0).standard_normal((rows, models.STATE)).astype(np.float32)
    body = json.dumps({"states": states.tolist()}).encode()
    load, process = Load(), psutil.Process(server.process.pid)
    cpu_before = sum(process.cpu_times()[:2])
    started = time.perf_counter()
    until = started + seconds
    reloading = [_reloads(folder, server, until)] if folder else []
    await asyncio.gather(*(_client(server.port, body, until, load) for _ in range(clients)), *reloading)
    load.seconds = time.perf_counter() - started
    load.server_cpu_s = sum(process.cpu_times()[:2]) - cpu_before
    return load


def bare(rows: int, seconds: float) -> float:
    """Runs a second of the model alone, one thread, without HTTP or JSON."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(models.mlp(1, HIDDEN), options, providers=["CPUExecutionProvider"])
    states = np.zeros((rows, models.STATE), np.float32)
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        for _ in range(50):
            session.run(None, {"state": states})
        count += 50
    return count / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description="Requests a second of /infer against a bare loop of the model.")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--clients", type=int, default=8, help="kept-alive connections")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before; model of 64-{HIDDEN}-10 floats, one thread")
    titles = ("per s", "of bare", "p50 ms", "p99 ms", "max ms", "cpu us/req", "failed")
    print(" " * 24 + "".join(f" {title:>{width}}" for title, width in zip(titles, WIDTHS, strict=True)))
    with tempfile.TemporaryDirectory() as scratch:
        folder = ServedFolder(Path(scratch) / "run")
        folder.promote(models.mlp(1, HIDDEN))
        with ServerProcess(folder.path, ServerOptions(port=0)) as server:
            for rows in (1, 128):
                bare_per_s = bare(rows, arguments.seconds)
                print(f"{f'bare loop, {rows} rows':24} {bare_per_s:9.0f} {1:7.3f}")
                for clients in (1, arguments.clients):
                    load = asyncio.run(_measure(server, rows, clients, arguments.seconds, None))
                    print(load.row(f"{clients} clients, {rows} rows", bare_per_s))
            bare_per_s = bare(1, arguments.seconds)
            load = asyncio.run(_measure(server, 1, arguments.clients, arguments.seconds, folder))
            print(load.row("1 row, reloads meanwhile", bare_per_s))


if __name__ == "__main__":
    main()
