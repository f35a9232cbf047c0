"""A real run makes room for a real program and goes on once that has ended. Memory is what they share: the CPUs of a
machine that tests run on are never idle for sure."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.execution.load import Gauge
from supervisor.execution.resources import RELEASE
from tests.support.command_line import TARGETS, NoopFolder
from tests.support.processes import console, start, wait_for

ALONE = "it weighs the memory of the whole machine: run it alone, pytest -m slow -n0 tests/run/test_room_for_others.py"
pytestmark = [pytest.mark.slow, pytest.mark.skipif("PYTEST_XDIST_WORKER" in os.environ, reason=ALONE)]

ROOM_GB = 0.5
HOLDER = "import os, sys; kept = b'x' * int(sys.argv[1]); print(os.getpid(), flush=True); input()"


def test_trials_leave_while_another_program_needs_the_memory(tmp_path: Path) -> None:
    folder = NoopFolder.make(tmp_path)
    for key in TARGETS:
        space = tmp_path / "spaces" / f"{key.split('/')[0]}.yaml"
        space.write_text(
            space.read_text().replace("noop:NoopTarget", "paced:PacedTarget")
            + "settings: {base_s: 60, one_in: 999983}\n"
        )
    used_gb = Gauge(tmp_path, ()).sample().ram_gb
    limit = (used_gb + ROOM_GB) / RELEASE  # so that what others use now is clearly below it
    environ = {"INCUMBENT_RESOURCES__MAX_RAM_GB": f"{limit:.3f}", "INCUMBENT_RUN__METRICS_PORT": "null"}
    process = start(folder.run_dir, *folder.flags, environ=environ)
    try:
        wait_for("a trial runs", lambda: (folder.run_dir / "trials" / "000001" / "heartbeat").exists())
        with holder(limit - used_gb + 2 * ROOM_GB) as pid:
            wait_for("the trial leaves", lambda: "-- yielded: " in console(folder.run_dir))
            wait_for("it is told", lambda: resources(folder)["held"] is True)
            assert resources(folder)["waits_for"] == "resources"
            facts = folder.run_dir / "trials" / "000001" / "facts.jsonl"
            wait_for("it has left", lambda: facts.exists() and '"stopped"' in facts.read_text())
            os.kill(pid, signal.SIGKILL)
        wait_for("it goes on", lambda: "-- went_on: " in console(folder.run_dir))
        assert console(folder.run_dir).count("-- yielded: ") == 1
        wait_for("it is told", lambda: resources(folder)["held"] is False)
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0


def resources(folder: NoopFolder) -> dict[str, object]:
    found = folder.call("status", "--json").json()["resources"]
    assert isinstance(found, dict)
    return found


@contextlib.contextmanager
def holder(held_gb: float) -> Iterator[int]:
    """The pid of a program that holds memory."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(int(held_gb * 2**30))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        yield int(program.stdout.readline())
        program.kill()
