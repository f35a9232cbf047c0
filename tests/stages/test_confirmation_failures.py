"""Candidates of a confirmation that cannot be built."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from supervisor.contract import Budget, Params, TrialSpec, Version
from supervisor.errors import TrialError
from supervisor.journal import durable, sealed
from tests.support.target_conformance import ManualControl
from trainers.build_stage import build_stage
from trainers.ledger import Ledger
from trainers.target import Built, Player, StopRequested

SEEDS = {name: 1000 * number for number, name in enumerate(("train", "screen", "topup", "duel", "measure", "confirm"))}


class EvenPlayer:
    def play(self, first_seed: int, games: int) -> Sequence[float]:
        return [0.5] * games


class FlakyTarget:
    """Fails to build what `failing` names, is stopped at what `stopping` names, and remembers what it was asked."""

    block_games = 100

    def __init__(self, failing: Sequence[int] = (), stopping: Sequence[int] = ()) -> None:
        self._failing, self._stopping = failing, stopping
        self.asked: list[int] = []

    def build(self, params: Params, work: Path) -> Built:
        number = int(str(params["number"]))
        self.asked.append(number)
        if number in self._stopping:
            raise StopRequested
        if number in self._failing:
            raise TrialError("build_timeout", f"candidate {number} was too slow")
        return Built(steps=1, config_sha256=durable.sha256_bytes(str(number).encode()))

    def candidate(self, params: Params, built: Built) -> Player:
        return EvenPlayer()

    def incumbent(self, version: Version) -> Player:
        return EvenPlayer()

    def close(self) -> None:
        """Nothing is held."""


def spec(candidates: int) -> TrialSpec:
    params: tuple[Params, ...] = tuple({"number": number} for number in range(candidates))
    budget = Budget(steps=0, wall_s=60.0, ram_mb=64)
    head = {"run_id": "test", "iteration": 2, "target": "a/b", "kind": "x:Y", "purpose": "confirmation"}
    return TrialSpec(
        **head,  # type: ignore[arg-type]
        sampler="spsa",
        params=params[0],
        level=0,
        scale="small",
        budget=budget,
        games=4,
        seeds=SEEDS,
        candidates=params,
    )


def test_a_candidate_that_could_not_be_built_is_not_asked_for_again(tmp_path: Path) -> None:
    first = FlakyTarget(failing=[0], stopping=[2])
    with pytest.raises(StopRequested):
        build_stage(spec(3), tmp_path, first, Ledger(tmp_path, ManualControl()))
    assert first.asked == [0, 1, 2]
    failed = sealed.read(tmp_path / "c0" / "failed.json")
    assert failed == {"reason": "build_timeout", "detail": "candidate 0 was too slow"}
    assert not (tmp_path / "c2" / "failed.json").exists()  # a stop is no failure
    second = FlakyTarget()  # by now everything could be built: it must not matter
    result = build_stage(spec(3), tmp_path, second, Ledger(tmp_path, ManualControl()))
    assert second.asked == [2]
    assert [row["candidate"] for row in result.confirmation] == [1, 2]


def test_where_none_could_be_built_the_first_reason_is_the_trials_after_a_restart_too(tmp_path: Path) -> None:
    for target in (FlakyTarget(failing=[0, 1]), FlakyTarget()):
        with pytest.raises(TrialError) as caught:
            build_stage(spec(2), tmp_path, target, Ledger(tmp_path, ManualControl()))
        assert (caught.value.reason, caught.value.detail) == ("build_timeout", "candidate 0 was too slow")
    assert target.asked == []
