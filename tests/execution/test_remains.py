"""The guard that names what a run leaves behind sees each kind of it, and nothing where there is nothing."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.remains import Remains, nothing_remains

DAEMON = "import os, time\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\ntime.sleep(600)"
ZOMBIE = (
    "import os, subprocess; dead = subprocess.Popen(['true']); os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)\n"
    "print(flush=True); input()"
)


@pytest.fixture
def later() -> Iterator[Callable[[Callable[[], object]], None]]:
    """What a test has to take away after it has been seen."""
    undo: list[Callable[[], object]] = []
    yield undo.append
    for step in reversed(undo):
        step()


def test_nothing_is_left_of_programs_and_files_that_ended(tmp_path: Path) -> None:
    with nothing_remains(tmp_path) as private:
        subprocess.run([sys.executable, "-c", "import tempfile; tempfile.TemporaryFile()"], check=True)
        (private / "file").touch()
        (private / "file").unlink()
        with (tmp_path / "kept").open("w"):
            pass


def test_a_daemon_that_forked_twice_is_named_and_ended(tmp_path: Path) -> None:
    left = r"(?s)left behind:\n  process \d+ python.*time.sleep\(600\)"
    with pytest.raises(AssertionError, match=left), nothing_remains(tmp_path, patience_s=0.2):
        subprocess.run([sys.executable, "-c", DAEMON], check=True)
    assert not [words for words in Remains.of().processes.values() if "sleep(600)" in words and "[Z]" not in words]


def test_a_zombie_that_its_parent_does_not_collect_is_named() -> None:
    with subprocess.Popen([sys.executable, "-c", ZOMBIE], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        before = Remains.of()
        lazy = [words for words in before.processes.values() if "[Z]" in words and f"child of {parent.pid}" in words]
        parent.kill()
    assert lazy


def test_a_process_killed_with_its_orphans_leaves_nothing_once_they_end(tmp_path: Path) -> None:
    with nothing_remains(tmp_path):
        orphaning = "import subprocess; subprocess.Popen(['sleep', '0.2'])"
        subprocess.run([sys.executable, "-c", orphaning], check=True)


def test_an_open_file_a_pipe_and_a_thread_are_named(tmp_path: Path, later: Callable[..., None]) -> None:
    end = threading.Event()

    def leave() -> None:
        stream = (tmp_path / "left_open").open("w")
        later(stream.close)
        for descriptor in os.pipe():
            later(lambda descriptor=descriptor: os.close(descriptor))
        thread = threading.Thread(target=end.wait, name="left_running")
        thread.start()
        later(thread.join)
        later(end.set)

    with pytest.raises(AssertionError) as caught, nothing_remains(patience_s=0.0):
        leave()
    assert f"descriptor {tmp_path}/left_open (1 more)" in str(caught.value)
    assert "descriptor pipe (2 more)" in str(caught.value)
    assert "thread left_running (1 more)" in str(caught.value)


def test_files_in_tmpdir_and_unfinished_ones_of_a_run_are_named(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, tempfile; tempfile.mkstemp('.left')\nfor name in sys.argv[1:]: pathlib.Path(name).touch()"
    )
    touched = [str(tmp_path / name) for name in (".config.yaml.tmp", "config.yaml")]
    with pytest.raises(AssertionError) as caught, nothing_remains(tmp_path, patience_s=0.0):
        subprocess.run([sys.executable, "-c", code, *touched], check=True)
    unfinished, temporary = str(caught.value).splitlines()[1:]
    assert unfinished == f"  file {touched[0]}"
    assert temporary.endswith(".left")


def test_a_shared_memory_segment_is_named() -> None:
    name = f"left_{os.getpid()}"
    code = f"open('/dev/shm/{name}', 'x')"
    with pytest.raises(AssertionError, match=f"shared memory /dev/shm/{name}"), nothing_remains(patience_s=0.0):
        subprocess.run([sys.executable, "-c", code], check=True)
    Path("/dev/shm", name).unlink()


def test_what_another_program_keeps_in_shared_memory_is_its_own() -> None:
    path = Path("/dev/shm", f"used_{os.getpid()}")
    outside = f"import os\nif os.fork(): os._exit(0)\ninput(); s = open('{path}', 'x'); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", outside], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starter:
        starter.wait()  # the one that talks to us is no child of ours now
        assert starter.stdin is not None
        assert starter.stdout is not None
        with nothing_remains(patience_s=0.0):
            starter.stdin.write("\n")
            starter.stdin.flush()
            starter.stdout.readline()
            assert path.exists()
        path.unlink()


def test_a_system_v_segment_that_nobody_is_attached_to_is_named() -> None:
    libc = ctypes.CDLL(None)
    made: list[int] = []
    with pytest.raises(AssertionError, match="System V shm"), nothing_remains(patience_s=0.0):
        made.append(libc.shmget(0, 1000, 0o1600))  # IPC_PRIVATE; IPC_CREAT for its owner
    libc.shmctl(made[0], 0, None)  # IPC_RMID
