from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.execution.output import CappedLog

HEAD, TAIL = 10, 6


def written(pieces: list[bytes]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        log = CappedLog(path, HEAD, TAIL)
        for piece in pieces:
            log.feed(piece)
        log.close()
        return path.read_bytes()


def test_the_head_can_be_read_while_the_trial_runs(tmp_path: Path) -> None:
    log = CappedLog(tmp_path / "log", HEAD, TAIL)
    log.feed(b"hello")
    assert (tmp_path / "log").read_bytes() == b"hello"
    log.close()


def test_without_room_for_the_file_the_end_is_still_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def full(path: Path, *arguments: object, **options: object) -> object:
        if path == tmp_path / "log":
            raise OSError(errno.ENOSPC, "no room")
        return opened(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", full)
    log = CappedLog(tmp_path / "log", HEAD, TAIL)
    log.feed(b"hello world, goodbye")
    assert log.tail(7) == "goodbye"[-TAIL:]
    log.close()
    assert not (tmp_path / "log").exists()


@given(st.lists(st.binary(max_size=12), max_size=12))
def test_short_output_is_kept_whole_and_long_output_at_both_ends(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    kept = written(pieces)
    if len(whole) <= HEAD + TAIL:
        assert kept == whole
    else:
        line = b"\n... %d bytes left out ...\n" % (len(whole) - HEAD - TAIL)
        assert kept == whole[:HEAD] + line + whole[-TAIL:]


@given(st.lists(st.binary(max_size=12), max_size=12))
def test_the_tail_is_the_end_of_everything(pieces: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = CappedLog(Path(folder) / "log", HEAD, TAIL)
        for piece in pieces:
            log.feed(piece)
        assert log.tail(100) == b"".join(pieces)[-TAIL:].decode(errors="replace")
        log.close()


def test_a_full_disk_loses_the_file_and_not_the_tail() -> None:
    log = CappedLog(Path("/dev/full"), HEAD, TAIL)
    log.feed(b"last words")
    assert log.tail(100) == " words"
    log.close()
