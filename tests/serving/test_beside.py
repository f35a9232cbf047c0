"""Two servers of one folder, one after the other: the second of them says so, whichever way it was started."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.journal.identity import RunIdentity, save_identity
from supervisor.serving.options import ServerOptions
from tests.support.processes import ROOT, wait_for
from tests.support.server_process import ServerProcess


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder before its first start, as a service manager makes it."""
    path = tmp_path / "run"
    path.mkdir()
    return path


@pytest.fixture
def server(folder: Path) -> Iterator[ServerProcess]:
    with ServerProcess(folder) as server:
        yield server


def serve(folder: Path, port: int, *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "supervisor", "serve", "--run-dir", str(folder), "--port", str(port), *flags],
        cwd=ROOT,
        env=os.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def identity(name: str) -> RunIdentity:
    return RunIdentity("run", 0, 1, name, {})


def test_beside_a_run_that_begins_for_the_first_time_the_server_that_is_there_is_used(
    folder: Path, server: ServerProcess
) -> None:
    second = serve(folder, server.port, "--beside-run")
    wait_for("it waits for the folder's first start", lambda: sleeps(second.pid) or second.poll() is not None)
    save_identity(folder, identity("this"))
    said, _ = second.communicate(timeout=60)
    assert second.returncode == 0
    assert f"A server of this run folder (pid {server.process.pid}) is running already and is used" in said
    assert not (folder / "events.jsonl").exists()


def sleeps(pid: int) -> bool:
    """In the kernel, until a time comes; not for input, as at a start."""
    return b"nanosleep" in Path(f"/proc/{pid}/wchan").read_bytes()


def test_beside_a_run_another_folders_server_leaves_the_run_unserved(
    tmp_path: Path, folder: Path, server: ServerProcess
) -> None:
    save_identity(folder, identity("this"))
    other = tmp_path / "other"
    other.mkdir()
    save_identity(other, identity("other"))
    second = serve(other, server.port, "--beside-run")
    said, _ = second.communicate(timeout=60)
    assert second.returncode == 0
    assert "-- unserved" in said
    assert "unserved" in (other / "events.jsonl").read_text()


def test_alone_it_is_told_to_try_again_and_by_whom_the_port_is_held(folder: Path, server: ServerProcess) -> None:
    """What is tried again takes over when the other one leaves: a unit of its own beside a script's server."""
    save_identity(folder, identity("this"))
    second = serve(folder, server.port)
    said, _ = second.communicate(timeout=60)
    assert second.returncode == 75
    assert f"a server of this run folder (pid {server.process.pid}) listens on port {server.port} already" in said


def test_beside_a_run_a_server_that_cannot_be_told_of_changes_is_not_taken_for_one_that_can(
    folder: Path, server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours, and started before `serving.admin_port` was set."""
    save_identity(folder, identity("this"))
    monkeypatch.setenv("INCUMBENT_SERVING__ADMIN_PORT", "9")
    second = serve(folder, server.port, "--beside-run")
    said, _ = second.communicate(timeout=60)
    assert second.returncode == 0
    assert f"-- unserved: a server of this run folder (pid {server.process.pid}) has port {server.port}" in said
    assert "its administration is not at 127.0.0.1:9" in said


def test_beside_a_run_ours_is_used_when_it_has_administrations_port(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_identity(folder, identity("this"))
    with ServerProcess(folder, ServerOptions(port=0, admin_port=0)) as first:
        monkeypatch.setenv("INCUMBENT_SERVING__ADMIN_PORT", str(first.admin_port))
        for port in (first.port, 0):  # the other port may be the same or not: it is not what the run asks
            second = serve(folder, port, "--beside-run")
            said, _ = second.communicate(timeout=60)
            assert f"A server of this run folder (pid {first.process.pid}) is running already and is used" in said
            assert second.returncode == 0
