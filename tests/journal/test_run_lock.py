"""One supervisor per run folder, whatever becomes of the lock file."""

import errno
import fcntl
import os
import re
import shutil
import threading

import pytest

from supervisor.errors import LockHeldError
from supervisor.journal.folder_lock import FolderLock
from supervisor.journal.identity import LOCK_NAME, RunLock, lock_is_held


@pytest.fixture
def held(tmp_path):
    lock = RunLock(tmp_path)
    lock.acquire()
    yield lock
    lock.release()


def named_pid(run_dir):
    with pytest.raises(LockHeldError) as refused:
        RunLock(run_dir).acquire()
    return int(re.search(r"another supervisor \(pid (\d+)\)", str(refused.value))[1])


def test_a_second_one_is_refused_and_told_who_holds_it(held, tmp_path):
    assert named_pid(tmp_path) == os.getpid()
    assert lock_is_held(tmp_path)
    held.release()
    assert not lock_is_held(tmp_path)
    again = RunLock(tmp_path)
    again.acquire()
    again.release()


@pytest.mark.parametrize("how", ["deleted", "replaced", "emptied"])
def test_whoever_deletes_the_lock_file_lets_nobody_in(held, tmp_path, how):
    path = tmp_path / LOCK_NAME
    if how == "emptied":
        os.truncate(path, 0)
    else:
        path.unlink()
    if how == "replaced":
        path.write_text("1\n")
    assert named_pid(tmp_path) == os.getpid()
    assert lock_is_held(tmp_path)
    assert held.check() is (how == "emptied")
    assert held.check() is True
    assert path.exists()
    assert named_pid(tmp_path) == os.getpid()


def test_a_folder_that_was_replaced_under_its_holder_is_left(tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    lock = RunLock(run_dir)
    lock.acquire()
    run_dir.rename(tmp_path / "moved")
    with pytest.raises(LockHeldError, match="it leaves before a second one"):
        lock.check()
    shutil.copytree(tmp_path / "moved", run_dir)
    with pytest.raises(LockHeldError, match="it leaves before a second one"):
        lock.check()
    lock.release()


def test_where_folders_cannot_be_locked_a_deleted_file_is_noticed_at_the_next_look(tmp_path, monkeypatch):
    real = fcntl.flock

    def of_files_only(descriptor, operation):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EBADF, "no such lock")
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", of_files_only)
    lock = RunLock(tmp_path)
    lock.acquire()
    assert lock_is_held(tmp_path)
    assert named_pid(tmp_path) == os.getpid()
    (tmp_path / LOCK_NAME).unlink()
    with pytest.raises(LockHeldError, match="it leaves before a second one"):
        lock.check()
    lock.release()


def test_somebody_who_only_looks_keeps_nobody_out(tmp_path):
    lock = RunLock(tmp_path)
    over = threading.Event()

    def look():
        while not over.is_set():
            lock_is_held(tmp_path)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(100):
            lock.acquire()
            assert FolderLock(tmp_path).is_held()
            lock.release()
    finally:
        over.set()
        for looker in lookers:
            looker.join()


def test_those_who_only_look_do_not_take_each_other_for_a_supervisor(tmp_path, monkeypatch):
    real, found = fcntl.flock, []

    def another_looks_meanwhile(descriptor, operation):
        real(descriptor, operation)
        if not found:
            found.append(None)
            found.append(FolderLock(tmp_path).is_held())

    monkeypatch.setattr(fcntl, "flock", another_looks_meanwhile)
    assert FolderLock(tmp_path).is_held() is False
    assert found == [None, False]
