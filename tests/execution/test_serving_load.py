"""Whose load is whose, on the real machine: another program's, a server's of the run folder, our own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from supervisor.config.settings import ResourceSettings
from supervisor.execution import linux, load, resources
from supervisor.execution.load import Gauge, Parties
from supervisor.execution.resources import Monitor
from supervisor.execution.serving_processes import FOLDER, said_to_serve, serving_pids
from tests.support import onnx_models as models
from tests.support.processes import ROOT, wait_for
from tests.support.served_folder import ServedFolder
from tests.support.server_process import ServerProcess

BURN_S = 0.5  # seconds of a core that a loop uses before it says so

BUSY = """
import os, sys, time
from contextlib import nullcontext
from pathlib import Path
from supervisor.execution.serving_processes import said_to_serve

kept = bytearray(b"x" * (200 * 2**20))
serves = sys.argv[1] == "serves"
with said_to_serve(Path(sys.argv[2])) if serves else nullcontext():
    print(os.getpid(), flush=True)
    for line in sys.stdin:
        until = time.process_time() + float(line)
        while time.process_time() < until:
            pass
        print("burnt", flush=True)
"""


class Program:
    """Burns so many seconds of a core when it is told to, and holds 200 MB."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout is not None
        self.pid = int(process.stdout.readline())

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        wait_for("it is gone", lambda: self.pid not in linux.processes())

    def burn(self, seconds: float = BURN_S) -> None:
        """Returns when they are burnt."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        self.hear("burnt")

    def hear(self, word: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == f"{word}\n"


@contextlib.contextmanager
def program(kind: str, run_dir: Path) -> Iterator[Program]:
    """`serves`: as a server of the folder does; `other`: as any program; `ours`: as a trial, a child of ours. The first
    two are orphans, so that they are no part of our tree."""
    command = [sys.executable, "-c", BUSY, kind, str(run_dir)]
    if kind != "ours":
        command = ["sh", "-c", 'exec 3<&0; "$@" <&3 &', "sh", *command]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        found = Program(process)
        wait_for("its parent is who it is to be", lambda: kind == "ours" or process.poll() is not None)
        try:
            yield found
        finally:
            if psutil.pid_exists(found.pid):
                found.kill() if kind != "ours" else process.kill()


def seconds_of(run_dir: Path) -> load.Seconds:
    table = linux.processes()
    return load.seconds(Parties.of(run_dir, table), table)


@pytest.mark.parametrize("kind", ["serves", "other"])
def test_a_server_of_the_folder_is_neither_other_programs_nor_ours(tmp_path: Path, kind: str) -> None:
    with program(kind, tmp_path) as loop:
        before = seconds_of(tmp_path)
        loop.burn()
        now = seconds_of(tmp_path)
        assert sum(now.serving_s.values()) - sum(before.serving_s.values()) >= (
            BURN_S - 0.05 if kind == "serves" else 0
        )
        assert list(now.serving_s) == ([loop.pid] if kind == "serves" else [])
        assert now.own_s - before.own_s < BURN_S / 2
        assert now.busy_s - before.busy_s >= BURN_S - 0.1


def test_what_a_server_burns_and_holds_is_serving_in_the_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "MEMORY_LOOK_S", 0.0)
    with program("serves", tmp_path) as server:
        began_s = time.monotonic()
        gauge = Gauge(tmp_path, ())
        server.burn()
        found = gauge.sample()
        elapsed_s = time.monotonic() - began_s
        assert found.serving.cpu_percent > 80 * BURN_S / (os.cpu_count() or 1) / elapsed_s
        assert 0.19 <= found.serving.ram_gb < 0.4
        with_it = found.ram_gb
        (tmp_path / FOLDER / str(server.pid)).unlink()
        assert gauge.sample().ram_gb - with_it > 0.1  # now it is a program like any other


def test_a_loop_of_our_own_is_not_others(tmp_path: Path) -> None:
    with program("ours", tmp_path) as trial:
        before = seconds_of(tmp_path)
        trial.burn()
        assert seconds_of(tmp_path).own_s - before.own_s >= BURN_S - 0.05


def test_a_server_that_is_killed_is_forgotten_whoever_gets_its_pid(tmp_path: Path) -> None:
    with program("serves", tmp_path) as server:
        assert serving_pids(tmp_path, linux.processes()) == {server.pid}
        server.kill()
    file = tmp_path / FOLDER / str(server.pid)
    assert file.exists()
    assert serving_pids(tmp_path, linux.processes()) == set()
    (tmp_path / FOLDER / str(os.getpid())).write_text(file.read_text())  # as if its pid had been given to us
    assert serving_pids(tmp_path, linux.processes()) == set()
    with said_to_serve(tmp_path):
        assert serving_pids(tmp_path, linux.processes()) == {os.getpid()}
        assert not file.exists()
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_two_servers_of_a_folder_both_count(tmp_path: Path) -> None:
    with program("serves", tmp_path) as one, program("serves", tmp_path) as two:
        assert serving_pids(tmp_path, linux.processes()) == {one.pid, two.pid}


def test_a_folder_that_cannot_be_written_is_served_all_the_same(tmp_path: Path) -> None:
    (tmp_path / FOLDER.parent).write_text("in the way")
    with said_to_serve(tmp_path):
        assert serving_pids(tmp_path, linux.processes()) == set()


def test_a_real_server_is_found_with_the_process_that_takes_experiences_in(tmp_path: Path) -> None:
    served = ServedFolder(tmp_path / "run")
    served.promote(models.mlp(1))
    with ServerProcess(served.path) as server:
        pid = server.process.pid
        assert serving_pids(served.path, linux.processes()) == {pid}
        below = {child.pid for child in psutil.Process(pid).children(recursive=True)}
        table = linux.processes()
        assert linux.descendants(pid, table) >= below


def test_another_program_makes_trials_leave_and_its_end_brings_them_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory, because a machine that tests share is never idle for sure."""
    monkeypatch.setattr(load, "MEMORY_LOOK_S", 0.0)
    monkeypatch.setattr(resources, "LOOK_S", 0.0)
    monkeypatch.setattr("supervisor.execution.yielding.PATIENCE_S", 0.1)
    held = Gauge(tmp_path, ()).sample().ram_gb
    monitor = Monitor(tmp_path, ResourceSettings(max_ram_gb=held + 0.2), ())
    kept = [program("other", tmp_path) for _ in range(6)]
    with contextlib.ExitStack() as stack:
        for other in kept:
            stack.enter_context(other)
        wait_for("trials must leave", lambda: "GB of memory" in monitor.overload())
    monitor.limits = ResourceSettings(max_ram_gb=held + 1000)
    wait_for("they may come back", lambda: not monitor.overload())
    assert monitor.admission().admitted
