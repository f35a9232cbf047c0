"""Readers beside the supervisor learn every version, and pay for no other line."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.contract import Json
from supervisor.errors import DamagedStateError
from supervisor.journal import log
from supervisor.journal.log import LOG_NAME, encode, read_log, version_records
from supervisor.journal.recovery import known_versions
from supervisor.record import Record
from tests.support import onnx_models as models
from tests.support.served_folder import TARGET, ServedFolder


def write_log(path: Path, iterations: int, every: int) -> list[Record]:
    """A log whose every so-many-th line makes a version; the records as they are read back."""
    folder = ServedFolder(path)
    for _ in range(iterations):
        folder.commit(models.wide())
    records = [
        record
        if record.iteration % every == 0
        else replace(
            record, version=None, model_sha256=None, promoted=False, search={"version": None, "note": "version"}
        )
        for record in read_log(path).records
    ]
    (path / LOG_NAME).write_bytes(b"".join(encode(record) for record in records))
    return records


def test_the_versions_are_those_that_reading_every_line_gives(tmp_path: Path) -> None:
    records = write_log(tmp_path, 20, 3)
    expected = {record.version: record.made_version for record in records if record.made_version}
    assert len(expected) == 6
    assert known_versions(tmp_path) == {TARGET: expected}


def test_only_lines_that_make_a_version_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_log(tmp_path, 20, 5)
    decoded: list[int] = []
    decode = log.decode_line

    def counting(path: Path, number: int, text: bytes) -> dict[str, Json]:
        decoded.append(number)
        return decode(path, number, text)

    monkeypatch.setattr(log, "decode_line", counting)
    assert [record.iteration for record in version_records(tmp_path)] == [5, 10, 15, 20]
    assert decoded == [5, 10, 15, 20]


def test_rotated_and_compressed_lines_count_and_a_torn_one_does_not(tmp_path: Path) -> None:
    write_log(tmp_path, 6, 2)
    plain = tmp_path / LOG_NAME
    lines = plain.read_bytes().splitlines(keepends=True)
    (tmp_path / "training_log.1.jsonl.gz").write_bytes(gzip.compress(b"".join(lines[:4])))
    plain.write_bytes(lines[4] + lines[5][:-1])
    assert sorted(known_versions(tmp_path)[TARGET]) == ["v000002", "v000004"]


def test_a_line_of_a_version_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    write_log(tmp_path, 2, 1)
    with (tmp_path / LOG_NAME).open("ab") as stream:
        stream.write(b'{"version":"v000009"}\n')
    with pytest.raises(DamagedStateError, match=r"jsonl:3"):
        known_versions(tmp_path)


def test_a_folder_without_a_log_knows_no_version(tmp_path: Path) -> None:
    assert known_versions(tmp_path) == {}
