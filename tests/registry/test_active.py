"""active.json: what is written is read back, and what is not ours is refused by name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from supervisor.contract import Interface, Version
from supervisor.registry.active import ActiveFile, DamagedActiveError
from supervisor.registry.store import UnreadableFileError
from supervisor.serving.catalogue import Catalogue
from supervisor.serving.errors import ApiError

MODEL = Version("v000007", 7, {"lr": 0.1}, "a" * 64, "b" * 64, Interface({"state": (0, 64)}, {"q": (0, 10)}), level=2)
EXTERNAL = Version("v000009", 9, {"aggression": 3}, "c" * 64)
FILE = ActiveFile.of({"aggressive/combat_dqn": MODEL, "bots/mine": EXTERNAL})


def test_a_written_file_is_read_back_equal(tmp_path: Path) -> None:
    assert FILE.write(tmp_path)
    assert ActiveFile.read(tmp_path) == FILE


def test_an_entry_gives_its_whole_version_back(tmp_path: Path) -> None:
    FILE.write(tmp_path)
    read = ActiveFile.read(tmp_path)
    assert read is not None
    assert read.targets["aggressive/combat_dqn"].as_version() == MODEL
    assert read.targets["bots/mine"].as_version() == EXTERNAL


def test_the_file_has_the_documented_fields(tmp_path: Path) -> None:
    FILE.write(tmp_path)
    body = json.loads((tmp_path / "models" / "active.json").read_text())
    assert body["schema"] == 1
    entry = body["targets"]["aggressive/combat_dqn"]
    assert entry["version"] == "v000007"
    assert entry["iteration"] == 7
    assert (entry["model_sha256"], entry["weights_sha256"]) == ("a" * 64, "b" * 64)
    assert entry["interface"] == {"inputs": {"state": [0, 64]}, "outputs": {"q": [0, 10]}}


def test_there_is_none_before_the_first_promotion(tmp_path: Path) -> None:
    assert ActiveFile.read(tmp_path) is None


def test_writing_the_same_again_touches_nothing(tmp_path: Path) -> None:
    FILE.write(tmp_path)
    before = os.stat(tmp_path / "models" / "active.json").st_ino
    assert not FILE.write(tmp_path)
    assert os.stat(tmp_path / "models" / "active.json").st_ino == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"schema":1,"targets":{"a/b":{"version":"v1"}}}',
        '{"schema":1,"targets":{},"extra":1}',
        "[" * 100_000,
        "\udcff",
    ],
)
def test_what_is_not_ours_is_refused_and_written_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "active.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DamagedActiveError, match=r"active\.json"):
        ActiveFile.read(tmp_path)
    assert FILE.write(tmp_path)
    assert ActiveFile.read(tmp_path) == FILE


@pytest.fixture
def failing_disk(tmp_path: Path) -> Path:
    """A run folder whose active.json can be opened and not read."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "active.json").symlink_to("/proc/self/mem")
    return tmp_path


def test_a_file_that_cannot_be_read_just_now_does_not_count_as_damaged(failing_disk: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"active\.json: .*Input/output error.*start again") as caught:
        ActiveFile.read(failing_disk)
    assert caught.value.exit_code == 75
    with pytest.raises(ApiError) as told:
        Catalogue(failing_disk).resolve("aggressive/combat_dqn", None)
    assert (told.value.status, told.value.code) == (503, "unreadable")


def test_a_file_that_cannot_be_read_just_now_is_written_anew(failing_disk: Path) -> None:
    assert FILE.write(failing_disk)
    assert ActiveFile.read(failing_disk) == FILE


def test_a_later_schema_is_not_guessed_at(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "active.json").write_text('{"schema":2,"targets":{}}')
    with pytest.raises(DamagedActiveError, match="schema 2"):
        ActiveFile.read(tmp_path)
