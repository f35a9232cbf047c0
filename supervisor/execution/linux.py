"""The few kernel services Python's library does not reach, and what /proc tells about processes."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36

# Programs that remove the shared memory and semaphores of processes that ended without doing so, then end themselves.
CARETAKERS = (b"multiprocessing.resource_tracker", b"torch_shm_manager")

IN_RAM = ("Pss_Anon", "Pss_Shmem")  # of a process's memory map, its own part of what is shared: no files
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# What a machine answers that has no process, memory or descriptor to give; later it may have.
SHORT = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)

_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, argument: int | bytes) -> None:
    value = ctypes.c_char_p(argument) if isinstance(argument, bytes) else ctypes.c_ulong(argument)
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl option {option} was refused")


def die_with_parent(signal_number: int) -> None:
    """Let the kernel send this process the signal when its parent ends; 0 takes it back.

    The parent is the thread that forked this process. It may be gone already: compare getppid afterwards.
    """
    _prctl(PR_SET_PDEATHSIG, signal_number)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that none escapes by forking twice."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def name_process(name: str) -> None:
    """What `ps -e` and `top` show; the kernel keeps 15 bytes."""
    _prctl(PR_SET_NAME, name.encode())


def _read(path: str) -> bytes:
    """A file of /proc, empty when its process ended while we looked or is another user's."""
    try:
        with open(path, "rb", buffering=0) as stream:
            return stream.read()
    except OSError:
        return b""


@dataclass(frozen=True)
class Process:
    """One row of the process table. `began`, in clock ticks since the machine's start, tells it from a later one with
    the same pid. `cpu_s` is its own and that of its children that have ended."""

    pid: int
    parent: int
    session: int
    began: int
    cpu_s: float = 0.0


def processes() -> dict[int, Process]:
    """Every process by pid but for zombies, which run no more and only wait to be noticed."""
    table: dict[int, Process] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        row = _read(f"/proc/{name}/stat")
        if not row:
            continue
        # The command's name stands in parentheses and may hold any character, parentheses too.
        fields = row[row.rindex(b")") + 2 :].split()
        if fields[0] not in (b"Z", b"X"):
            parent, session, began = (int(fields[column]) for column in (1, 3, 19))
            ticks = sum(int(field) for field in fields[11:15])
            table[int(name)] = Process(int(name), parent, session, began, ticks / TICKS_PER_S)
    return table


def descendants(root: int, table: Mapping[int, Process]) -> set[int]:
    """Pids below `root`, not `root` itself."""
    children: dict[int, list[int]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    pending = [root]
    while pending:
        for pid in children.get(pending.pop(), ()):
            if pid not in found:
                found.add(pid)
                pending.append(pid)
    return found


def with_environment(entry: str, table: Mapping[int, Process]) -> set[int]:
    """Pids of programs that were started with `NAME=value` in their environment."""
    wanted = entry.encode()
    return {pid for pid in table if wanted in _read(f"/proc/{pid}/environ").split(b"\0")}


def with_argument(argument: str, table: Mapping[int, Process]) -> set[int]:
    """Pids of processes whose command line has this argument: the program started with it and all its mere forks."""
    wanted = argument.encode()
    return {pid for pid in table if wanted in _read(f"/proc/{pid}/cmdline").split(b"\0")}


def caretakers(pids: Iterable[int]) -> set[int]:
    """Of these processes those that clean up behind the others: killed with them, they leave /dev/shm as it is."""
    return {pid for pid in pids if any(name in _read(f"/proc/{pid}/cmdline") for name in CARETAKERS)}


def nameless(pids: Iterable[int]) -> set[int]:
    """Of these processes those without a command line: between a fork and the program they are about to become."""
    return {pid for pid in pids if not _read(f"/proc/{pid}/cmdline")}


def holding(folder: str, name: str, table: Mapping[int, Process]) -> set[int]:
    """Pids of processes whose name begins with `name` and that have the folder itself open."""
    return {pid for pid in table if _read(f"/proc/{pid}/comm").startswith(name.encode()) and _holds(pid, folder)}


def _holds(pid: int, path: str) -> bool:
    try:
        return any(os.readlink(f"/proc/{pid}/fd/{entry}") == path for entry in os.listdir(f"/proc/{pid}/fd"))
    except OSError:  # it ended while we looked
        return False


def _kilobytes(path: str, names: tuple[str, ...]) -> int:
    total = 0
    for line in _read(path).decode().splitlines():
        name, _, rest = line.partition(":")
        if name in names:
            total += int(rest.split()[0])
    return total


def address_space_mb(pid: int) -> int:
    """VmSize: what RLIMIT_AS bounds."""
    return _kilobytes(f"/proc/{pid}/status", ("VmSize",)) // 1024


def occupied_mb(pids: Iterable[int]) -> int:
    """Memory of their own (no files), in RAM or swapped out, pages shared by a fork counted in each: too much, but
    quick to ask."""
    return sum(_kilobytes(f"/proc/{pid}/status", ("RssAnon", "RssShmem", "VmSwap")) for pid in pids) // 1024


def proportional_mb(pids: Iterable[int]) -> int:
    """Their own memory in RAM, every shared page divided among its sharers: exact, but the kernel walks all page
    tables."""
    return sum(_rolled_up_kb(pid, *IN_RAM) for pid in pids) // 1024


def beyond_fork_server_mb(pids: Iterable[int], server: int) -> int:
    """As `proportional_mb`, with what is swapped out, without what they share with the fork server they come from."""
    pids = tuple(pids)
    mark = _read(f"/proc/{server}/cmdline")
    forks = sum(_read(f"/proc/{pid}/cmdline") == mark for pid in pids)
    # Of the server's pages its forks still share each holds as large a part as the server does.
    part_kb = max(0, _rolled_up_kb(server, *IN_RAM) - _rolled_up_kb(server, "Private_Dirty"))
    # What the others hold of the server's swapped pages is no less than its part of those; only its alone, nobody else
    # holds, and the kernel does not tell it apart.
    swapped_part_kb = _rolled_up_kb(server, "SwapPss")
    part_kb += min(swapped_part_kb, max(0, _rolled_up_kb(server, "Swap") - swapped_part_kb))
    return max(0, sum(_rolled_up_kb(pid, *IN_RAM, "SwapPss") for pid in pids) - forks * part_kb) // 1024


def _rolled_up_kb(pid: int, *names: str) -> int:
    return _kilobytes(f"/proc/{pid}/smaps_rollup", names)


def out_of_memory_kills() -> int:
    """How many processes the kernel has killed for want of memory since it started; 0 where it does not say."""
    lines = _read("/proc/vmstat").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(b"oom_kill ")), 0)
