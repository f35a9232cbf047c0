"""Games and builds on disk that somebody or a disk has damaged: played and built again, and never believed."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from supervisor.contract import Budget, Params, TrialSpec, Version
from supervisor.journal import durable, sealed
from tests.support.target_conformance import ManualControl
from trainers import build_stage as stage
from trainers import worker
from trainers.control import HEARTBEAT_NAME, FolderControl
from trainers.ledger import Ledger
from trainers.target import Built, Player

SEEDS = {"train": 0, "screen": 10_000, "topup": 20_000, "duel": 30_000}


class CountingPlayer:
    def __init__(self) -> None:
        self.blocks: list[int] = []

    def play(self, first_seed: int, games: int) -> Sequence[float]:
        self.blocks.append(first_seed)
        return [float(seed % 3 == 0) for seed in range(first_seed, first_seed + games)]


class FileTarget:
    """Builds a file; `spoil` runs when its games begin."""

    block_games = 10

    def __init__(self, player: Player, spoil: bool = False) -> None:
        self.player, self.spoil = player, spoil
        self.builds = 0

    def build(self, params: Params, work: Path) -> Built:
        self.builds += 1
        model = work / "model.onnx"
        durable.write_atomic(model, b"the model")
        return Built(steps=1, model=model, measured={"finite": 1.0})

    def candidate(self, params: Params, built: Built) -> Player:
        if self.spoil:
            assert built.model is not None
            built.model.write_bytes(b"the mode1")
        return self.player

    def incumbent(self, version: Version) -> Player:
        return self.player

    def close(self) -> None: ...


def spec(games: int = 40) -> TrialSpec:
    budget = Budget(steps=0, wall_s=60.0, ram_mb=64)
    head = {"run_id": "test", "iteration": 2, "target": "a/b", "kind": "x:Y", "purpose": "search", "sampler": "spsa"}
    return TrialSpec(**head, params={}, level=0, scale="small", budget=budget, games=games, seeds=SEEDS)  # type: ignore[arg-type]


def ledger(folder: Path) -> Ledger:
    return Ledger(folder, ManualControl())


def play(folder: Path, player: Player) -> list[tuple[float | None, ...]]:
    book = ledger(folder)
    spans = [range(first, first + 10) for first in range(0, 40, 10)]
    return [book.play("screen", "candidate", player, 0, span).scores for span in spans]


def change(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))


def test_only_the_block_of_a_damaged_line_is_played_again(tmp_path: Path) -> None:
    expected = play(tmp_path, CountingPlayer())
    change(tmp_path / "games.jsonl", b'"block":20', b'"block":30')  # a block twice, and another missing
    again = CountingPlayer()
    assert play(tmp_path, again) == expected
    assert again.blocks == [20]
    assert play(tmp_path, CountingPlayer()) == expected


def test_a_changed_score_is_noticed(tmp_path: Path) -> None:
    expected = play(tmp_path, CountingPlayer())
    path = tmp_path / "games.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], lines[3].replace(b"[1.0,0.0", b"[1.0,1.0")]))
    assert path.read_bytes() != b"".join(lines)
    assert play(tmp_path, CountingPlayer()) == expected


def test_the_games_of_a_contest_do_not_count_as_the_builds_own(tmp_path: Path) -> None:
    first = stage.build_stage(spec(), tmp_path, FileTarget(CountingPlayer()), ledger(tmp_path))
    ledger(tmp_path).play("duel", "candidate", CountingPlayer(), SEEDS["duel"], range(10))
    again = stage.build_stage(spec(), tmp_path, FileTarget(CountingPlayer()), ledger(tmp_path))
    assert again == first
    assert again.games == 40


def test_what_happens_to_a_file_while_games_are_played_does_not_become_its_hash(tmp_path: Path) -> None:
    result = stage.build_stage(spec(), tmp_path, FileTarget(CountingPlayer(), spoil=True), ledger(tmp_path))
    assert result.model_sha256 == durable.sha256_bytes(b"the model")


@pytest.mark.parametrize("damage", ["a figure", "no JSON", "no object", "the file it names", "gone"])
def test_a_build_that_is_not_as_it_was_written_is_done_again(tmp_path: Path, damage: str) -> None:
    target = FileTarget(CountingPlayer())
    first = stage.build(target, {}, tmp_path)
    path = tmp_path / stage.BUILT_NAME
    assert stage.load_built(tmp_path) == first
    if damage == "a figure":
        change(path, b'"finite":1.0', b'"finite":0.0')
    elif damage == "the file it names":
        (tmp_path / "model.onnx").write_bytes(b"another")
    elif damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"no JSON": b"{", "no object": b"[]"}[damage])
    assert stage.build(target, {}, tmp_path) == first
    assert target.builds == 2


def test_a_damaged_note_of_a_failure_is_no_failure(tmp_path: Path) -> None:
    sealed.write(tmp_path / stage.FAILED_NAME, {"reason": "nan", "detail": ""})
    change(tmp_path / stage.FAILED_NAME, b"nan", b"nam")
    assert stage._build_once(FileTarget(CountingPlayer()), {}, tmp_path).steps == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_trial_without_room_leaves_with_a_code_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(folder: Path, control: object) -> None:
        raise OSError(code, "no room")

    monkeypatch.setattr(worker, "_run", full)
    monkeypatch.setattr(FolderControl, "listen", lambda self: None)
    assert worker.main(str(tmp_path)) == worker.EXIT_DISK_FULL


def test_a_heartbeat_is_felt_on_a_full_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control = FolderControl(tmp_path)
    control.beat(1)
    path = tmp_path / HEARTBEAT_NAME
    os.utime(path, (0, 0))

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr("trainers.control.os.write", full)
    monkeypatch.setattr("trainers.control.BEAT_INTERVAL_S", 0.0)
    control.beat(2)
    assert path.stat().st_mtime_ns > 0
    assert path.read_text() == "1\n"
