"""What every kind of target must do, whoever wrote it: inherit `TargetConformance` and say how one is opened."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import psutil
import pytest

from supervisor.contract import Params, Version
from supervisor.journal import durable
from trainers.target import Built, Control, Player, StopRequested, TrialTarget

SEED = 2**51 + 12345  # as large as real ones are


@dataclass
class ManualControl:
    """A Control that a test holds: `stop_after` beats it wishes to stop."""

    stop_after: int | None = None
    beats: int = 0

    @property
    def stop_requested(self) -> bool:
        return self.stop_after is not None and self.beats >= self.stop_after

    def beat(self, step: int) -> None:
        self.beats += 1

    def check(self) -> None:
        if self.stop_requested:
            raise StopRequested


class TargetConformance:
    """`params` is a configuration, `games` a number that tells two sides apart."""

    params: ClassVar[Params]
    games = 6

    def open_target(self, folder: Path, control: Control) -> TrialTarget:
        """A target of the kind under test for a trial folder `<run-dir>/trials/<number>` that exists."""
        raise NotImplementedError

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "run" / "trials" / "000001"
        folder.mkdir(parents=True)
        return folder

    def built_player(self, target: TrialTarget, folder: Path) -> tuple[Built, Player]:
        built = target.build(self.params, folder)
        return built, target.candidate(self.params, built)

    def as_version(self, built: Built, folder: Path) -> Version:
        """The candidate as the registry would keep it."""
        models = folder.parent.parent / "models"
        models.mkdir(exist_ok=True)
        sha256 = built.config_sha256
        if built.model is not None:
            sha256 = durable.sha256_file(built.model)
            shutil.copyfile(built.model, models / f"{sha256}.onnx")
        weights = durable.sha256_file(built.weights) if built.weights else None
        if built.weights is not None:
            shutil.copyfile(built.weights, models / f"{weights}.pt")
        assert sha256 is not None
        return Version("v000001", 1, self.params, sha256, weights, built.interface)

    def test_a_block_has_one_score_in_0_to_1_per_game(self, folder: Path) -> None:
        target = self.open_target(folder, ManualControl())
        _, player = self.built_player(target, folder)
        scores = player.play(SEED, self.games)
        target.close()
        assert len(scores) == self.games
        assert all(0 <= score <= 1 for score in scores)
        assert target.block_games > 0

    def test_scores_do_not_depend_on_how_games_are_grouped(self, folder: Path) -> None:
        target = self.open_target(folder, ManualControl())
        _, player = self.built_player(target, folder)
        whole = list(player.play(SEED, self.games))
        parts = [*player.play(SEED, 1), *player.play(SEED + 1, self.games - 3), *player.play(SEED + self.games - 2, 2)]
        target.close()
        assert whole == parts

    def test_the_other_side_playing_in_between_changes_nothing(self, folder: Path) -> None:
        target = self.open_target(folder, ManualControl())
        built, player = self.built_player(target, folder)
        before = list(player.play(SEED, self.games))
        opponent = target.incumbent(self.as_version(built, folder))
        opponent.play(SEED + 1000, 2)
        assert list(player.play(SEED, self.games)) == before
        target.close()

    def test_the_candidate_plays_as_incumbent_what_it_played_as_candidate(self, folder: Path) -> None:
        target = self.open_target(folder, ManualControl())
        built, player = self.built_player(target, folder)
        incumbent = target.incumbent(self.as_version(built, folder))
        assert list(incumbent.play(SEED, self.games)) == list(player.play(SEED, self.games))
        target.close()

    def test_a_new_process_on_the_same_folder_plays_the_same(self, folder: Path) -> None:
        first = self.open_target(folder, ManualControl())
        built, player = self.built_player(first, folder)
        scores = list(player.play(SEED, self.games))
        first.close()
        second = self.open_target(folder, ManualControl())
        assert list(second.candidate(self.params, built).play(SEED, self.games)) == scores
        second.close()

    def test_a_build_that_was_stopped_ends_as_one_that_was_not(self, folder: Path, tmp_path: Path) -> None:
        other = tmp_path / "other" / "trials" / "000001"
        other.mkdir(parents=True)
        undisturbed = self.open_target(other, ManualControl())
        expected = self.as_version(undisturbed.build(self.params, other), other)
        undisturbed.close()
        stopped = self.open_target(folder, ManualControl(stop_after=1))
        try:
            stopped.build(self.params, folder)
        except StopRequested:
            pass
        finally:
            stopped.close()
        again = self.open_target(folder, ManualControl())
        assert self.as_version(again.build(self.params, folder), folder) == expected
        again.close()

    def test_close_leaves_no_process_behind(self, folder: Path) -> None:
        before = {process.pid for process in psutil.Process().children(recursive=True)}
        target = self.open_target(folder, ManualControl())
        _, player = self.built_player(target, folder)
        player.play(SEED, 1)
        target.close()
        assert {process.pid for process in psutil.Process().children(recursive=True)} == before

    def test_close_without_a_build_is_fine(self, folder: Path) -> None:
        self.open_target(folder, ManualControl()).close()
