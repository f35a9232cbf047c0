"""What a trial is charged with does not depend on how many others share the fork server's pages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping

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
        try:
            wait_for(f"two processes from {lines}", lambda: len(family(trial)) == 2)
            assert linux.processes()[trial].parent == server.pid
            beyond_mb = linux.beyond_fork_server_mb(family(trial), server.pid)
        finally:
            for pid in (*linux.descendants(server.pid, linux.processes()), server.pid):
                os.kill(pid, signal.SIGKILL)
    assert OWN_MB - 2 <= beyond_mb <= OWN_MB + 15


SERVER_PID, FIRST, SECOND = 10, 11, 12


@pytest.fixture
def swapping(monkeypatch: pytest.MonkeyPatch) -> None:
    """What /proc says of a fork server and two forks on a machine that swaps. 90 MB of the server's are swapped out,
    which all three share, and 5 MB that are its alone; of 30 MB in RAM each holds a third; the first fork has 50 MB of
    its own in RAM and 200 MB swapped out."""
    server = {"Pss_Anon": 10, "Private_Dirty": 0, "Swap": 95, "SwapPss": 35}
    first = {"Pss_Anon": 60, "Private_Dirty": 50, "Swap": 290, "SwapPss": 230}
    second = {"Pss_Anon": 10, "Private_Dirty": 0, "Swap": 90, "SwapPss": 30}
    files = {f"/proc/{pid}/cmdline": b"server" for pid in (SERVER_PID, FIRST, SECOND)}
    for pid, rows in ((SERVER_PID, server), (FIRST, first), (SECOND, second)):
        files[f"/proc/{pid}/smaps_rollup"] = in_kilobytes(rows)
    files[f"/proc/{FIRST}/status"] = in_kilobytes({"RssAnon": 80, "RssFile": 700, "RssShmem": 0, "VmSwap": 290})
    monkeypatch.setattr(linux, "_read", lambda path: files[path])


def in_kilobytes(rows: Mapping[str, int]) -> bytes:
    return "".join(f"{name}:   {mb * 1024} kB\n" for name, mb in rows.items()).encode()


def test_what_is_swapped_out_counts_as_memory_of_a_trial(swapping: None) -> None:
    assert linux.occupied_mb([FIRST]) == 370
    # 5 MB less than it is: swapped pages that are the server's alone cannot be told from those it shares
    assert linux.beyond_fork_server_mb([FIRST], SERVER_PID) in range(50 + 200 - 5, 50 + 200 + 1)
    assert linux.beyond_fork_server_mb([SECOND], SERVER_PID) == 0


def test_what_is_swapped_out_takes_no_ram_from_other_programs(swapping: None) -> None:
    assert linux.proportional_mb([FIRST]) == 60


def family(trial: int) -> set[int]:
    return {trial, *linux.descendants(trial, linux.processes())}
