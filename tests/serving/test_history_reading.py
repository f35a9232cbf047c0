"""What log and snapshot say is read again exactly when it may be something else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from supervisor.journal.log import LOG_NAME
from supervisor.serving import history
from supervisor.serving.history import History
from tests.support import onnx_models as models
from tests.support.served_folder import TARGET, ServedFolder


@pytest.fixture
def folder(tmp_path: Path) -> ServedFolder:
    folder = ServedFolder(tmp_path / "run")
    folder.promote(models.mlp(1))
    return folder


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The reads of the log, counted."""
    found: list[Path] = []
    whole = history.known_versions

    def counted(run_dir: Path) -> object:
        found.append(run_dir)
        return whole(run_dir)

    monkeypatch.setattr(history, "known_versions", counted)
    return found


def names(known: History) -> list[str]:
    return sorted(known.versions()[TARGET])


def test_what_has_not_changed_is_read_once(folder: ServedFolder, reads: list[Path]) -> None:
    known = History(folder.path)
    assert [names(known) for _ in range(5)] == [["v000001"]] * 5
    assert len(reads) == 1


def test_a_line_more_is_seen_at_once(folder: ServedFolder, reads: list[Path]) -> None:
    known = History(folder.path)
    for number in range(2, 7):
        folder.commit(models.mlp(number))
        assert names(known)[-1] == f"v{number:06d}"
        assert known.targets()[TARGET].incumbent == known.versions()[TARGET][f"v{number:06d}"]
    assert len(reads) == 5


def test_a_log_that_was_shortened_or_exchanged_is_read_again(folder: ServedFolder) -> None:
    folder.commit(models.mlp(2))
    known = History(folder.path)
    assert names(known) == ["v000001", "v000002"]
    log = folder.path / LOG_NAME
    whole = log.read_bytes()
    log.write_bytes(whole[: whole.index(b"\n") + 1])
    assert names(known) == ["v000001"]
    shutil.copy(log, folder.path / "copy")
    (folder.path / "copy").write_bytes(whole)
    (folder.path / "copy").rename(log)
    assert names(known) == ["v000001", "v000002"]


def test_a_read_that_failed_is_tried_again(folder: ServedFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = history.known_versions

    def fails(_: Path) -> object:
        raise OSError("just now")

    monkeypatch.setattr(history, "known_versions", fails)
    known = History(folder.path)
    with pytest.raises(OSError, match="just now"):
        known.versions()
    monkeypatch.setattr(known.versions, "_read", whole)
    assert names(known) == ["v000001"]
