"""SIGKILL at every system call that changes the run folder, durable.py's own and everybody else's (SQLite, rmtree).

`strace` kills the victim on entering the call, which then is not executed (a call's effect is what the kill before the
next one finds). It counts a call's invocations per thread, so a point is a call's name and number, not one number.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from supervisor.journal.requests import Action, Request
from tests.faults.cell import TIER_A, Cell, PromiseBrokenError
from tests.faults.killed import SAME
from tests.faults.picture import assert_same, picture
from tests.faults.scenario import SHORT, Scenario, reference
from tests.faults.wreck import assert_sound

CALLS = (
    "openat,creat,write,writev,pwrite64,pwritev,pwritev2,copy_file_range,sendfile,fallocate,truncate,ftruncate,fsync,"
    "fdatasync,sync_file_range,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,"
    "rmdir,chmod,fchmod,fchmodat,utimensat,setxattr,fsetxattr"
)
CREATES = ("O_CREAT", "O_TRUNC")  # an openat without them changes nothing
BEGUN = re.compile(r"(\d+) +(\w+)\((.*)")  # one that another thread's call interrupts is resumed in another form
ATTACHED = b" attached\n"
PR_SET_PTRACER, ANYBODY = 0x59616D61, -1

GOING_ON = Scenario(  # a folder that goes away, an enqueued candidate, a snapshot
    "going on",
    iterations=13,
    base=10,
    dashboard=False,
    requests=(Request("enqueue-1", 1, Action.ENQUEUE, "mage/noop", params={"skill": 0.9}),),
)
NEW_DASHBOARD = Scenario("new dashboard", iterations=2)
DASHBOARD = Scenario("dashboard", iterations=4, base=3)


@dataclass(frozen=True)
class Call:
    """A call of the victim's thread (0 is the main one): the number-th of its name, from 1."""

    thread: int
    name: str
    number: int
    text: str


def run_traced(work: Callable[[], None], options: Sequence[str], output: Path) -> int:
    """`work` in a forked child under strace; the child's wait status."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_long(ANYBODY))  # where only ancestors may trace
        os.close(writing)
        code = 1
        try:
            os.read(reading, 1)
            work()
            code = 0
        finally:
            os._exit(code)
    os.close(reading)
    command = ["strace", "-f", "-y", "-s", "0", "-p", str(pid), "-o", str(output), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as strace:
        assert strace.stderr is not None
        said = strace.stderr.readline()
        if not said.endswith(ATTACHED):
            os.kill(pid, signal.SIGKILL)
        os.close(writing)
        _, status = os.waitpid(pid, 0)
    if not said.endswith(ATTACHED):
        raise OSError(f"strace cannot attach: {said.decode().strip()}")
    return status


@functools.cache
def unavailable() -> str:
    if shutil.which("strace") is None:
        return "strace is not installed"
    try:
        run_traced(lambda: None, ["-e", "trace=none"], Path(os.devnull))
    except OSError as error:
        return str(error)
    return ""


def calls(scenario: Scenario, scratch: Path) -> list[Call]:
    """Every state-changing call in the run folder of an undisturbed run, in order."""
    folder = scratch / f"{scenario.name.replace(' ', '_')}_traced"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    run_dir, output = folder / "run", folder / "calls"
    reference(scenario, scratch).lay(run_dir)
    status = run_traced(lambda: scenario.run(run_dir), ["-e", f"trace={CALLS}"], output)
    if status != 0:
        raise RuntimeError(f"the traced run ended with wait status {status}")
    return list(_in_folder(output.read_text().splitlines(), run_dir))


def _in_folder(lines: Sequence[str], run_dir: Path) -> Iterator[Call]:
    threads: list[str] = []
    numbers: Counter[tuple[str, str]] = Counter()
    for line in lines:
        begun = BEGUN.match(line)
        if begun is None:
            continue
        thread, name, text = begun.groups()
        if thread not in threads:
            threads.append(thread)
        numbers[thread, name] += 1
        if str(run_dir) in text and (name != "openat" or any(flag in text for flag in CREATES)):
            paths = re.findall(rf"{re.escape(str(run_dir))}[^>\"]*", text)
            yield Call(threads.index(thread), name, numbers[thread, name], str(Path(paths[-1]).relative_to(run_dir)))


def points(scenario: Scenario, scratch: Path, choose: Callable[[list[Call]], list[Call]]) -> Sequence[str]:
    return [f"{call.name} {call.number} {call.text}" for call in choose(calls(scenario, scratch))]


def all_of_them(found: list[Call]) -> list[Call]:
    return found


def of_the_dashboard(found: list[Call]) -> list[Call]:
    """Of the thread that keeps study.db; the main thread's are those of every run."""
    return [call for call in found if call.thread > 0]


def some_of_the_dashboard(found: list[Call]) -> list[Call]:
    """Hundreds of page writes create the tables."""
    return of_the_dashboard(found)[::8]


def check(scenario: Scenario, scratch: Path, point: str, folder: Path) -> int:
    """Killed there, nothing is broken; started again, the run ends as if undisturbed.

    Another thread's calls vary a little with time: where the run ended before the kill, it must still be the same run.
    """
    name, number, _ = point.split(" ", 2)
    run_dir = folder / "run"
    known = reference(scenario, scratch)
    known.lay(run_dir)
    options = ["-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={number}"]
    status = run_traced(lambda: scenario.run(run_dir), options, folder / "calls")
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if not killed and status != 0:
        raise PromiseBrokenError(f"the traced run ended with wait status {status}")
    assert_sound(run_dir)
    scenario.run(run_dir)
    assert_same(picture(run_dir), known.expected)
    return int(killed)


def cells(scratch: Path) -> list[Cell]:
    wanted: tuple[tuple[Scenario, Callable[[list[Call]], list[Call]], int], ...] = (
        (SHORT, all_of_them, 4),
        (GOING_ON, all_of_them, 4),
        (DASHBOARD, of_the_dashboard, 3),
        (NEW_DASHBOARD, some_of_the_dashboard, 0),
    )
    return [
        Cell(
            f"system call: {scenario.name}",
            TIER_A,
            SAME,
            lambda folder, scenario=scenario, choose=choose: points(scenario, scratch, choose),
            partial(check, scenario, scratch),
            unavailable,
            reduced=reduced,
        )
        for scenario, choose, reduced in wanted
    ]
