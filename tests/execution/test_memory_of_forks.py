"""What a trial is charged with does not depend on how many others share the fork server's pages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from supervisor.execution import linux
from tests.support.processes import ROOT, wait_for

BASE_MB = 120
OWN_MB = 60
# A server with a large base, forks that touch nothing, and one whose child takes memory of its own.
SERVER = f"""
import os, signal, sys
base = [bytearray(b"b" * 2**20) for _ in range({BASE_MB})]
def fork(work):
    pid = os.fork()
    if pid == 0:
        work()
        signal.pause()
    return pid
def greedy():
    def eat():
        kept = [bytearray(b"o" * 2**20) for _ in range({OWN_MB})]
        print("eaten", flush=True)
        signal.pause()
    fork(eat)
print(fork(greedy), *(fork(lambda: None) for _ in range(int(sys.argv[1]))), flush=True)
signal.pause()
"""


@pytest.mark.parametrize("others", [0, 1, 8])
def test_memory_beyond_the_fork_server_is_the_same_however_many_share_its_pages(others: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(others)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        lines = sorted((server.stdout.readline(), server.stdout.readline()))
        trial, *_ = (int(word) for word in lines[0].split())
        wait_for("both processes", lambda: len(family(trial)) == 2)
        table = linux.processes()
        assert table[trial].parent == server.pid
        beyond_mb = linux.beyond_fork_server_mb(family(trial), server.pid)
        forked = sorted(linux.descendants(server.pid, table))
        for pid in (*forked, server.pid):
            os.kill(pid, signal.SIGKILL)
    assert OWN_MB - 2 <= beyond_mb <= OWN_MB + 15


def family(trial: int) -> set[int]:
    return {trial, *linux.descendants(trial, linux.processes())}
