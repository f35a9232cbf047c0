"""The log: what is appended is committed, what is torn never was, and what somebody does to the file is noticed."""

import gzip
import json
import shutil

import pytest

from supervisor.contract import as_json
from supervisor.errors import DamagedStateError
from supervisor.journal.log import LOG_NAME, Log, LogRewrittenError, chain_of, cut_torn_tail, encode, read_log
from supervisor.record import FIRST_CHAIN
from tests.support.records import make_record


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


@pytest.mark.parametrize("how", ["truncated", "replaced", "moved", "appended"])
def test_a_log_that_somebody_changed_is_not_appended_to(written, how):
    run_dir, log, _ = written
    path = run_dir / LOG_NAME
    if how == "truncated":
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
