"""The log: what is appended is committed, what is torn never was, and what somebody does to the file is noticed."""

import errno
import gzip
import json
import shutil
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.contract import as_json
from supervisor.errors import DamagedStateError
from supervisor.journal import durable, log_files
from supervisor.journal.durable import DiskFullError
from supervisor.journal.log import (
    LOG_NAME,
    Log,
    LogLines,
    LogRewrittenError,
    chain_of,
    cut_torn_tail,
    encode,
    read_latest,
    read_log,
    version_records,
)
from supervisor.lesson import Lesson
from supervisor.record import FIRST_CHAIN
from tests.support.records import make_promotion, make_record


@pytest.fixture
def written(tmp_path):
    log = Log(tmp_path, FIRST_CHAIN)
    lines = [log.commit(make_record(iteration)) for iteration in range(1, 6)]
    return tmp_path, log, lines


def test_a_committed_line_is_read_back_as_it_was(written):
    run_dir, _, lines = written
    assert read_log(run_dir).records == tuple(lines)
    assert read_log(run_dir).breaks == ()


def test_each_line_is_one_line_of_canonical_json_that_jq_can_read(written):
    run_dir, _, lines = written
    for text, record in zip((run_dir / LOG_NAME).read_bytes().splitlines(), lines, strict=True):
        body = json.loads(text)
        assert list(body) == sorted(body)
        assert json.dumps(body, sort_keys=True, separators=(",", ":")).encode() == text
        assert body["iteration"] == record.iteration


def test_the_chain_covers_everything_but_time():
    record = make_record(1)
    same = make_record(1, time={"duration_s": 99.0})
    other = make_record(1, games=61)
    assert chain_of(FIRST_CHAIN, as_json(record)) == chain_of(FIRST_CHAIN, as_json(same))
    assert chain_of(FIRST_CHAIN, as_json(record)) != chain_of(FIRST_CHAIN, as_json(other))
    assert chain_of("1" * 32, as_json(record)) != chain_of(FIRST_CHAIN, as_json(record))


def test_a_torn_last_line_is_cut_off_at_every_byte(written, tmp_path_factory):
    run_dir, _, lines = written
    data = (run_dir / LOG_NAME).read_bytes()
    start = data[:-1].rfind(b"\n") + 1
    for length in range(start, len(data)):
        copy = tmp_path_factory.mktemp("torn")
        (copy / LOG_NAME).write_bytes(data[:length])
        assert cut_torn_tail(copy) == length - start
        assert read_log(copy).records == tuple(lines[:-1])
        assert (copy / LOG_NAME).read_bytes() == data[:start]
        shutil.rmtree(copy)


def test_a_line_of_a_version_that_knew_no_lessons_keeps_its_chain():
    line = as_json(make_record(1))
    without = {key: value for key, value in line.items() if key != "lesson"}
    assert chain_of("0" * 32, without) == chain_of("0" * 32, line)
    lesson = as_json(Lesson("mage/combat_dqn", 1, "0:0", "0:0", "0:9", 9, 0, 64, "v000001", 0))
    assert chain_of("0" * 32, {**line, "lesson": lesson}) != chain_of("0" * 32, line)


def test_a_lesson_of_a_version_that_knew_no_stores_by_name_keeps_its_chain():
    lesson = Lesson("mage/combat_dqn", 1, "0:0", "0:0", "0:9", 9, 0, 64, "v000001", 0)
    line = as_json(make_record(1, lesson=lesson))
    before = {**line, "lesson": {key: value for key, value in line["lesson"].items() if key != "store"}}
    assert chain_of("0" * 32, before) == chain_of("0" * 32, line)
    of_one = as_json(make_record(1, lesson=replace(lesson, store="one")))
    assert chain_of("0" * 32, of_one) != chain_of("0" * 32, line)


def test_a_changed_line_breaks_the_chain_where_it_was_changed(written):
    run_dir, _, _ = written
    path = run_dir / LOG_NAME
    lines = path.read_text().splitlines()
    body = json.loads(lines[2])
    body["games"] += 1
    lines[2] = json.dumps(body, sort_keys=True, separators=(",", ":"))
    path.write_text("\n".join(lines) + "\n")
    assert read_log(run_dir).breaks == (3,)


def test_a_shortened_log_is_trusted_from_its_first_line(written):
    run_dir, _, lines = written
    path = run_dir / LOG_NAME
    path.write_bytes(b"".join(encode(line) for line in lines[2:]))
    assert read_log(run_dir).records == tuple(lines[2:])
    assert read_log(run_dir).breaks == ()


def test_compressed_rotations_are_read_too(written):
    run_dir, _, lines = written
    (run_dir / "training_log-1.jsonl.gz").write_bytes(gzip.compress(b"".join(encode(line) for line in lines[:3])))
    (run_dir / LOG_NAME).write_bytes(b"".join(encode(line) for line in lines[3:]))
    assert read_log(run_dir).records == tuple(lines)


@pytest.mark.parametrize("name", ["training_log-20260101.jsonl", "training_log.1.jsonl"])
def test_a_rotation_counts_while_it_is_being_compressed_and_after(written, name):
    run_dir, _, lines = written
    rotated = run_dir / name
    (run_dir / LOG_NAME).rename(rotated)
    assert read_log(run_dir).records == tuple(lines)
    data = gzip.compress(rotated.read_bytes())
    compressed = run_dir / f"{name}.gz"
    compressed.write_bytes(data[: len(data) // 2])
    assert read_log(run_dir) == LogLines(tuple(lines), ())
    compressed.write_bytes(data)
    rotated.unlink()
    assert read_log(run_dir) == LogLines(tuple(lines), ())
    assert read_latest(run_dir, 3, 0) == tuple(lines[3:])


@pytest.mark.parametrize("name", ["training_log_mine.jsonl", "training_log.old.jsonl", "training_log-notes.jsonl"])
def test_a_users_own_extract_of_the_log_is_none_of_its_files(written, name):
    run_dir, _, lines = written
    (run_dir / name).write_text('{"iteration":1,"win_rate":0.5}\n')
    assert read_log(run_dir).records == tuple(lines)


@pytest.mark.parametrize("read", [read_log, lambda run_dir: read_latest(run_dir, 0, 0)])
def test_files_that_are_renamed_while_they_are_read_are_read_again(written, monkeypatch, read):
    run_dir, _, lines = written
    real, numbers = log_files.log_files, iter((1, 2, 3))

    def rotated_at_once(folder):
        found = real(folder)
        if (number := next(numbers, None)) is not None:
            found[-1].rename(run_dir / f"training_log.{number}.jsonl")
        return found

    monkeypatch.setattr(log_files, "log_files", rotated_at_once)
    found = read(run_dir)
    assert getattr(found, "records", found) == tuple(lines)


def test_lines_that_move_to_a_file_not_listed_yet_are_found(written, monkeypatch):
    run_dir, _, lines = written
    real, lists = log_files.log_files, []

    def rotated_behind_the_list(folder):
        found = real(folder)
        if not lists:
            (run_dir / LOG_NAME).rename(run_dir / "training_log.1.jsonl")
            (run_dir / LOG_NAME).touch()
        lists.append(found)
        return found

    monkeypatch.setattr(log_files, "log_files", rotated_behind_the_list)
    assert read_log(run_dir).records == tuple(lines)


@pytest.mark.parametrize("how", ["truncated", "replaced", "moved", "appended", "edited in its last line"])
def test_a_log_that_somebody_changed_is_not_appended_to(written, how):
    run_dir, log, _ = written
    path = run_dir / LOG_NAME
    if how.startswith("edited"):
        with path.open("r+b") as stream:
            data = stream.read()
            stream.seek(data.rindex(b'"games":60'))
            stream.write(b'"games":61')
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-10])
    elif how == "replaced":
        copy = run_dir / "copy"
        copy.write_bytes(path.read_bytes())
        copy.rename(path)
    elif how == "moved":
        path.rename(run_dir / "elsewhere")
    else:
        with path.open("ab") as stream:
            stream.write(b"{}\n")
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(LogRewrittenError):
        log.commit(make_record(6))
    assert (path.read_bytes() if path.exists() else None) == before


def test_lines_that_were_removed_can_be_written_again_as_they_were(written):
    run_dir, log, lines = written
    path = run_dir / LOG_NAME
    path.write_bytes(b"".join(encode(line) for line in lines[1:3]))
    log.restore(lines[3:])
    line = log.commit(make_record(6))
    assert read_log(run_dir).records == (*lines[1:], line)
    assert read_log(run_dir).breaks == ()


def test_a_line_that_is_no_record_is_named_with_file_and_line(written):
    run_dir, _, _ = written
    with (run_dir / LOG_NAME).open("a") as stream:
        stream.write("not json\n")
    with pytest.raises(DamagedStateError, match=r"training_log\.jsonl:6: not a JSON line"):
        read_log(run_dir)
    (run_dir / LOG_NAME).write_text('{"iteration":1,"surprise":2}\n')
    with pytest.raises(DamagedStateError, match=r"(?s)training_log\.jsonl:1: not a line of this program.*surprise"):
        read_log(run_dir)


def test_lines_are_restored_behind_a_cut_through_the_middle_of_one(written):
    run_dir, log, lines = written
    path = run_dir / LOG_NAME
    path.write_bytes(b"".join(encode(line) for line in lines[:3]) + encode(lines[3])[:-40])
    log.restore(lines[3:])
    line = log.commit(make_record(6))
    assert path.read_bytes() == b"".join(encode(record) for record in (*lines, line))


def test_a_disk_that_is_full_while_lines_are_restored_loses_none_of_them(written, monkeypatch):
    run_dir, log, lines = written
    path = run_dir / LOG_NAME
    path.write_bytes(encode(lines[0]))
    full = OSError(errno.ENOSPC, "No space left on device")

    def refuse(operation, _):
        if operation == "write":
            raise full

    monkeypatch.setattr(durable, "failpoint", refuse)
    with pytest.raises(DiskFullError):
        log.restore(lines[1:])
    monkeypatch.setattr(durable, "failpoint", None)
    with pytest.raises(LogRewrittenError):
        log.commit(make_record(6))
    log.restore(lines[1:])
    line = log.commit(make_record(6))
    assert read_log(run_dir).records == (*lines, line)


def test_a_first_line_that_was_cut_through_is_left_out_at_every_byte(written):
    run_dir, _, lines = written
    data = b"".join(encode(line) for line in lines[1:3])
    for start in range(1, len(encode(lines[1]))):
        (run_dir / LOG_NAME).write_bytes(data[start:])
        log = read_log(run_dir)
        assert log.records == (lines[2],)
        assert log.torn_first_line
        assert log.breaks == ()


def test_only_the_first_line_of_the_plain_log_may_be_torn_and_not_alone(written):
    run_dir, _, lines = written
    path = run_dir / LOG_NAME
    path.write_bytes(encode(lines[1])[30:])
    with pytest.raises(DamagedStateError, match=r"jsonl:1: not a JSON line"):
        read_log(run_dir)
    path.write_bytes(encode(lines[0]) + encode(lines[1])[30:] + encode(lines[2]))
    with pytest.raises(DamagedStateError, match=r"jsonl:2: not a JSON line"):
        read_log(run_dir)
    path.unlink()
    (run_dir / "training_log-1.jsonl.gz").write_bytes(gzip.compress(encode(lines[0])[30:] + encode(lines[1])))
    with pytest.raises(DamagedStateError, match=r"gz:1: not a JSON line"):
        read_log(run_dir)


def damaged(data, how):
    """A compressed rotation that cannot be unpacked to its end."""
    if how == "half written":
        return data[: len(data) // 2]
    if how == "no gzip":
        return b"something else"
    bad = bytearray(data)
    bad[len(bad) // 2] ^= 0xFF
    return bytes(bad)


@pytest.mark.parametrize("how", ["half written", "no gzip", "changed"])
def test_a_rotation_that_cannot_be_unpacked_is_treated_as_not_there(tmp_path, how):
    log = Log(tmp_path, FIRST_CHAIN)
    lines = [log.commit(make_promotion(iteration)) for iteration in range(1, 6)]
    rotation = tmp_path / "training_log-1.jsonl.gz"
    rotation.write_bytes(damaged(gzip.compress(b"".join(encode(line) for line in lines[:3])), how))
    (tmp_path / LOG_NAME).write_bytes(b"".join(encode(line) for line in lines[3:]))
    read = read_log(tmp_path)
    assert read.records == tuple(lines[3:])
    assert read.unreadable == (rotation,)
    assert list(version_records(tmp_path)) == lines[3:]
    assert read_latest(tmp_path, 4, 5) == tuple(lines[3:])


@settings(deadline=None)  # it writes and syncs files
@given(
    order=st.permutations(range(5)),
    again=st.lists(st.integers(0, 4), max_size=3),
    changed=st.none() | st.integers(0, 4),
)
def test_breaks_are_the_same_in_whatever_order_the_lines_stand(tmp_path_factory, order, again, changed):
    run_dir = tmp_path_factory.mktemp("run")
    log = Log(run_dir, FIRST_CHAIN)
    texts = [encode(log.commit(make_record(iteration))) for iteration in range(1, 6)]
    if changed is not None:
        texts[changed] = texts[changed].replace(b'"games":60', b'"games":61')
    (run_dir / LOG_NAME).write_bytes(b"".join(texts[number] for number in (*order, *again)))
    assert read_log(run_dir).breaks == (() if changed is None else (changed + 1,))


def test_the_last_of_two_different_lines_of_an_iteration_counts_for_the_chain_too(written):
    run_dir, _, lines = written
    forged = make_record(3, games=61, chain="f" * 32)
    with (run_dir / LOG_NAME).open("ab") as stream:
        stream.write(encode(forged))
    assert read_log(run_dir).breaks == (3, 4)
    with (run_dir / LOG_NAME).open("ab") as stream:
        stream.write(encode(lines[2]))
    assert read_log(run_dir).breaks == ()


def test_the_latest_lines_are_read_without_decoding_the_others(written):
    run_dir, _, lines = written
    path = run_dir / LOG_NAME
    spoilt = [b'{"iteration":1,broken\n', b'{"iteration":2,broken\n', *(encode(line) for line in lines[2:])]
    path.write_bytes(b"".join(spoilt))
    assert read_latest(run_dir, 3, 0) == tuple(lines[3:])
    assert read_latest(run_dir, 5, 2) == tuple(lines[3:])
    path.write_bytes(b"".join(encode(line) for line in (lines[0], lines[3], lines[4], lines[1], lines[2])))
    assert read_latest(run_dir, 1, 1) == tuple(lines[1:])


def test_the_latest_lines_come_from_older_files_where_the_newest_holds_too_few(written):
    run_dir, _, lines = written
    for number, part in enumerate((lines[:2], lines[2:4]), start=1):
        body = b"".join(encode(line) for line in part)
        (run_dir / f"training_log-{number}.jsonl.gz").write_bytes(gzip.compress(body))
    (run_dir / LOG_NAME).write_bytes(encode(lines[4]))
    assert read_latest(run_dir, 4, 1) == (lines[4],)
    assert read_latest(run_dir, 2, 1) == tuple(lines[2:])
    assert read_latest(run_dir, 5, 3) == tuple(lines[2:])
    assert read_latest(run_dir, 0, 0) == tuple(lines)
