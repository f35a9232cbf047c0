"""The quick look over the whole log finds what reading every line finds, and decodes hardly any."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.errors import DamagedStateError
from supervisor.journal import log as log_module
from supervisor.journal import log_scan
from supervisor.journal.log import LOG_NAME, Log, cut_torn_tail, read_log
from supervisor.journal.log_scan import records_with, scan_log, walk_log
from supervisor.record import FIRST_CHAIN
from tests.support.records import make_promotion, make_record

LENGTH = 9


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    run_dir = tmp_path_factory.mktemp("lines")
    log = Log(run_dir, FIRST_CHAIN)
    for iteration in range(1, LENGTH + 1):
        make = make_promotion if iteration % 4 == 1 else make_record
        detail = {"detail": '},"trial":7,"time":{', "latency": {"time": 1.0}} if iteration == 3 else {}
        log.commit(make(iteration, time={"duration_s": 1.5, **detail}))
    return (run_dir / LOG_NAME).read_bytes().splitlines(keepends=True)


def outcome(work: Callable[[], object]) -> object:
    try:
        return work()
    except DamagedStateError as error:
        return str(error)


Harm = Callable[[list[bytes], int], list[bytes]]
HARMS: dict[str, Harm] = {
    "none": lambda lines, at: lines,
    "a line gone": lambda lines, at: lines[:at] + lines[at + 1 :],
    "a line twice": lambda lines, at: [*lines[: at + 1], *lines[at:]],
    "a line moved to the end": lambda lines, at: [*lines[:at], *lines[at + 1 :], lines[at]],
    "the beginning gone": lambda lines, at: lines[at:],
    "cut inside the first line": lambda lines, at: [lines[at][20:], *lines[at + 1 :]],
    "a value edited": lambda lines, at: _edited(lines, at, b'"games":60', b'"games":61'),
    "its time edited": lambda lines, at: _edited(lines, at, b'"duration_s":1.5', b'"duration_s":2.5'),
    "its chain edited": lambda lines, at: _edited(lines, at, b'"chain":"', b'"chain":"0'),
    "another run's": lambda lines, at: _edited(lines, at, b'"run_id":"run"', b'"run_id":"other"'),
    "another iteration": lambda lines, at: _edited(lines, at, b'"level":1', b'"level":1,"iteration":3'),
    "spelled otherwise": lambda lines, at: [
        *lines[:at],
        json.dumps(json.loads(lines[at])).encode() + b"\n",
        *lines[at + 1 :],
    ],
    "an unknown field": lambda lines, at: _edited(lines, at, b'"archetype"', b'"an_unknown":1,"archetype"'),
    "no JSON": lambda lines, at: [*lines[:at], b"no line\n", *lines[at + 1 :]],
}


def _edited(lines: list[bytes], at: int, old: bytes, new: bytes) -> list[bytes]:
    return [*lines[:at], lines[at].replace(old, new), *lines[at + 1 :]]


@settings(deadline=None, max_examples=300)
@given(
    harm=st.sampled_from(sorted(HARMS)),
    at=st.integers(0, LENGTH - 1),
    after=st.none() | st.integers(0, LENGTH + 1),
    latest=st.integers(0, LENGTH + 1),
)
def test_it_finds_what_reading_every_line_finds(tmp_path_factory, lines, harm, at, after, latest):
    run_dir = tmp_path_factory.mktemp("run")
    (run_dir / LOG_NAME).write_bytes(b"".join(HARMS[harm](lines, at)))
    quick = outcome(lambda: scan_log(run_dir, after, latest))
    thorough = outcome(lambda: log_scan._of_all(read_log(run_dir), after, latest))
    assert quick == thorough
    walked = outcome(lambda: walk_log(run_dir, tuple))
    assert walked == outcome(lambda: read_log(run_dir).records)


def test_of_a_log_as_it_was_committed_only_the_latest_lines_are_decoded(tmp_path, lines, monkeypatch):
    (tmp_path / LOG_NAME).write_bytes(b"".join(lines))
    decoded: list[int] = []

    def count(path: Path, number: int, text: bytes) -> object:
        decoded.append(number)
        return log_module.record_of(path, number, text)

    monkeypatch.setattr(log_scan, "record_of", count)
    found = scan_log(tmp_path, after=LENGTH - 1, latest=2)
    assert [record.iteration for record in found.records] == [LENGTH - 2, LENGTH - 1, LENGTH]
    assert decoded == [LENGTH - 2, LENGTH - 1, LENGTH]


def test_lines_are_found_by_what_they_hold(tmp_path, lines):
    (tmp_path / LOG_NAME).write_bytes(b"".join([*lines[4:], *lines[:4]]))
    assert [record.iteration for record in records_with(tmp_path, b'"reason":"proven"')] == [1, 5, 9]


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_a_torn_line_is_found_however_long_it_is(tmp_path, lines, piece, monkeypatch):
    monkeypatch.setattr(log_module, "END_BYTES", piece)
    path = tmp_path / LOG_NAME
    for whole, torn in (([], b"torn"), (lines, b""), (lines, b"x" * 2500), (lines, lines[0][:-1])):
        path.write_bytes(b"".join(whole) + torn)
        assert cut_torn_tail(tmp_path) == len(torn)
        assert path.read_bytes() == b"".join(whole)
