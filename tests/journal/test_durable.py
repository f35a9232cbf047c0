"""Durable writes: whole or not at all, and what a full or failing disk leads to."""

import errno
import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.journal import durable
from supervisor.journal.durable import DiskFullError, FsyncFailedError, append, canonical_json, write_atomic


def fail_at(monkeypatch, wanted, number=1, code=errno.ENOSPC):
    """The number-th operation of that name fails with the code."""
    seen = 0

    def failpoint(operation, path):
        nonlocal seen
        if operation == wanted:
            seen += 1
            if seen == number:
                raise OSError(code, "injected")

    monkeypatch.setattr(durable, "failpoint", failpoint)


@pytest.mark.parametrize("operation", ["open_temporary", "write", "rename"])
def test_a_full_disk_leaves_the_old_file_and_no_leftover(tmp_path, monkeypatch, operation):
    path = tmp_path / "file"
    write_atomic(path, b"old")
    fail_at(monkeypatch, operation)
    with pytest.raises(DiskFullError, match="no space left"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("operation", ["fsync_temporary", "fsync_folder"])
def test_a_failed_fsync_is_never_retried_but_ends_the_process_with_75(tmp_path, monkeypatch, operation):
    fail_at(monkeypatch, operation, code=errno.EIO)
    with pytest.raises(FsyncFailedError) as caught:
        write_atomic(tmp_path / "file", b"new")
    assert caught.value.exit_code == 75


def test_an_append_without_room_is_taken_back(tmp_path, monkeypatch):
    path = tmp_path / "log"
    append(path, b"first\n")
    fail_at(monkeypatch, "write")
    with pytest.raises(DiskFullError):
        append(path, b"second\n")
    assert path.read_bytes() == b"first\n"
    monkeypatch.setattr(durable, "failpoint", None)
    assert append(path, b"second\n", expected_size=6) == 13


@pytest.mark.parametrize(("code", "words"), [(errno.EFBIG, "ulimit -f"), (errno.EDQUOT, "quota")])
def test_other_limits_than_the_disks_are_waited_for_too_and_named(tmp_path, monkeypatch, code, words):
    fail_at(monkeypatch, "write", code=code)
    with pytest.raises(DiskFullError, match=words):
        append(tmp_path / "log", b"line\n")


@pytest.mark.parametrize("operation", ["open_temporary", "write", "rename"])
def test_what_fails_is_named_by_the_file_and_not_by_its_temporary_name(tmp_path, monkeypatch, operation):
    path = tmp_path / "file"
    fail_at(monkeypatch, operation, code=errno.EIO)
    with pytest.raises(OSError, match="injected") as caught:
        write_atomic(path, b"new")
    assert (caught.value.filename, caught.value.filename2) == (str(path), None)


def test_a_mark_is_made_once_and_waits_for_room(tmp_path, monkeypatch):
    path = tmp_path / "mark"
    fail_at(monkeypatch, "mark")
    with pytest.raises(DiskFullError):
        durable.mark(path)
    durable.mark(path)
    fail_at(monkeypatch, "mark")
    durable.mark(path)
    assert path.read_bytes() == b""


def test_an_append_to_a_file_of_another_length_writes_nothing(tmp_path):
    path = tmp_path / "log"
    append(path, b"first\n")
    with pytest.raises(ValueError, match="has 6 bytes where 7 were expected"):
        append(path, b"second\n", expected_size=7)
    assert path.read_bytes() == b"first\n"


def test_an_io_error_is_no_full_disk(tmp_path, monkeypatch):
    fail_at(monkeypatch, "write", code=errno.EIO)
    with pytest.raises(OSError, match="injected") as caught:
        append(tmp_path / "log", b"line\n")
    assert not isinstance(caught.value, DiskFullError)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_canonical_json_is_a_function_of_the_value_and_reads_back_exactly(value):
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text
    assert b"\n" not in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_canonical_json_refuses_what_is_no_json_number(value):
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"value": value})


@pytest.mark.parametrize("scalar", [np.float32(0.1), np.float64(0.1), np.int64(7), np.bool_(True)])
def test_numpy_scalars_become_the_numbers_they_hold(scalar):
    assert json.loads(canonical_json([scalar])) == [scalar.item()]


def test_keeping_the_previous_file_twice_leaves_no_temporary_name(tmp_path):
    path, previous = tmp_path / "checkpoint.json", tmp_path / "checkpoint.previous.json"
    durable.write_json(path, {"iteration": 3})
    for _ in range(2):  # the second is what a kill between link and write leads to
        durable.link_previous(path, previous)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["checkpoint.json", "checkpoint.previous.json"]


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK])
def test_where_there_are_no_hard_links_the_previous_file_is_a_copy(tmp_path, monkeypatch, code):
    path, previous = tmp_path / "checkpoint.json", tmp_path / "checkpoint.previous.json"

    def refuse(source, link):
        raise OSError(code, "no links here", str(source), None, str(link))

    monkeypatch.setattr(os, "link", refuse)
    for snapshot in (b"first", b"second", b"third"):
        durable.link_previous(path, previous)
        write_atomic(path, snapshot)
    assert (path.read_bytes(), previous.read_bytes()) == (b"third", b"second")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["checkpoint.json", "checkpoint.previous.json"]


def test_a_link_that_fails_for_another_reason_leaves_the_previous_file(tmp_path, monkeypatch):
    path, previous = tmp_path / "checkpoint.json", tmp_path / "checkpoint.previous.json"
    for snapshot in (b"first", b"second"):
        durable.link_previous(path, previous)
        write_atomic(path, snapshot)
    fail_at(monkeypatch, "link", code=errno.EIO)
    with pytest.raises(OSError, match="injected"):
        durable.link_previous(path, previous)
    assert previous.read_bytes() == b"first"


@pytest.mark.parametrize("rest", [b"", b"{", b'{"a":"' + b"x" * 40_000, b"\0\0\0", b'\0\0"}\n', b"\0\n\0\0}\n\0"])
@pytest.mark.parametrize("whole", [b"", b"first\n", b"first\nlong " + b"y" * 40_000 + b"\n"])
def test_what_a_crash_left_of_last_lines_is_cut_off(tmp_path, whole, rest):
    path = tmp_path / "log"
    path.write_bytes(whole + rest)
    assert durable.cut_torn_tail(path) == len(rest)
    assert path.read_bytes() == whole


def test_a_file_that_is_not_there_has_no_tail(tmp_path):
    assert durable.cut_torn_tail(tmp_path / "log") == 0
    assert not (tmp_path / "log").exists()
