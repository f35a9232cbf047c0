from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.contract import Version
from supervisor.external.in_place import take
from supervisor.external.winner import write_winner
from tests.support.kill_matrix import killed_at_each_step
from tests.support.programs import CONFIG, OTHER_PARAMS, PARAMS, make_program

WON = CONFIG.replace("0.5", "0.75").replace("2  ", "3  ")
VERSION = Version("v000042", 42, OTHER_PARAMS, "sha-of-42")
BEFORE = Version("v000001", 1, PARAMS, "sha-of-1")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return make_program(tmp_path / "user").parent / "config.yaml"


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"


def apply(config: Path, run_dir: Path, version: Version = VERSION, target: str = "examples.bot") -> str | None:
    written = write_winner(config, "yaml", version, run_dir / "external" / f"{target}.json")
    assert written.done or written.notes
    return "; ".join(written.notes) or None


def leave_edited(config: Path) -> None:
    """What a killed trial leaves."""
    if os.fork() == 0:
        claim = take(config)
        assert claim is not None
        claim.put(b"weights: {aggression: 9, caution: 9}\n")
        os._exit(0)
    os.wait()
    assert b"9" in config.read_bytes()


def test_the_winning_values_are_written_comments_kept_and_it_is_told_once(config: Path, run_dir: Path) -> None:
    event = apply(config, run_dir)
    assert config.read_text() == WON
    assert event == f"{config}: holds the values of v000042 now"
    assert apply(config, run_dir) is None


def test_what_a_user_changes_afterwards_stays(config: Path, run_dir: Path) -> None:
    apply(config, run_dir)
    config.write_text(CONFIG)
    assert apply(config, run_dir) is None
    assert config.read_text() == CONFIG


def test_an_earlier_version_comes_back_after_a_rollback(config: Path, run_dir: Path) -> None:
    apply(config, run_dir)
    assert apply(config, run_dir, BEFORE) is not None
    assert config.read_text() == CONFIG


def test_values_that_stand_there_already_are_no_event_and_no_write(config: Path, run_dir: Path) -> None:
    before = config.stat().st_mtime_ns
    assert apply(config, run_dir, BEFORE) is None
    assert config.stat().st_mtime_ns == before


def test_killed_at_any_step_it_is_done_by_the_next_start(config: Path, run_dir: Path) -> None:
    def prepare() -> None:
        config.write_text(CONFIG)
        for marker in run_dir.glob("external/*"):
            marker.unlink()

    for _ in killed_at_each_step(lambda: apply(config, run_dir) and None, prepare):
        assert config.read_text() in (CONFIG, WON)
        apply(config, run_dir)
        assert config.read_text() == WON
        assert apply(config, run_dir) is None


def test_a_file_left_edited_by_a_killed_trial_is_given_back_first(config: Path, run_dir: Path) -> None:
    leave_edited(config)
    apply(config, run_dir)
    assert config.read_text() == WON
    assert not list(config.parent.glob(".*incumbent"))


def test_a_file_left_edited_is_given_back_also_where_nothing_is_to_be_written(config: Path, run_dir: Path) -> None:
    apply(config, run_dir)
    leave_edited(config)
    assert apply(config, run_dir) is None
    assert config.read_text() == WON


def test_while_a_trial_has_the_file_the_winner_waits(config: Path, run_dir: Path) -> None:
    claim = take(config)
    assert claim is not None
    claim.put(b"weights: {aggression: 9, caution: 9}\n")
    event = apply(config, run_dir)
    assert event is not None
    assert "a trial is using it" in event
    claim.release()
    assert config.read_text() == CONFIG
    assert apply(config, run_dir) == f"{config}: holds the values of v000042 now"


@pytest.mark.parametrize("text", ["weights: [", "weights: {caution: 1}\n", None])
def test_a_file_that_cannot_take_the_values_is_an_event_and_left_alone(
    config: Path, run_dir: Path, text: str | None
) -> None:
    if text is None:
        config.unlink()
    else:
        config.write_text(text)
    event = apply(config, run_dir)
    assert event is not None
    assert "the values of v000042 are not in the file" in event
    assert (config.read_text() if config.exists() else None) == text
    config.write_text(CONFIG)
    apply(config, run_dir)
    assert config.read_text() == WON


def test_two_targets_may_share_a_file(config: Path, run_dir: Path) -> None:
    bold = Version("v000003", 3, {"weights.aggression": 0.9}, "a")
    shy = Version("v000004", 4, {"weights.caution": 7}, "b")
    apply(config, run_dir, bold, "a.bold")
    apply(config, run_dir, shy, "a.shy")
    config.write_text(config.read_text().replace("0.9", "0.1"))
    assert apply(config, run_dir, bold, "a.bold") is None
    assert apply(config, run_dir, shy, "a.shy") is None
    assert "aggression: 0.1" in config.read_text()


def test_a_damaged_marker_only_means_writing_again(config: Path, run_dir: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker.json"
    marker.write_text("{torn")
    written = write_winner(config, "yaml", VERSION, marker)
    assert written.done
    assert written.changed
    assert not write_winner(config, "yaml", VERSION, marker).changed
