"""Games that cannot be played during the paired test: who loses them, who bears them, and when they spoil it."""

from __future__ import annotations

import hashlib
import json
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from supervisor import contract
from supervisor.contract import (
    Budget,
    DuelResult,
    DuelSpec,
    Outcome,
    Params,
    Reason,
    Status,
    TrialResult,
    TrialSpec,
    Version,
)
from supervisor.errors import TrialError
from supervisor.promotion import paired, replay
from tests.support.target_conformance import ManualControl
from trainers.build_stage import build_stage
from trainers.duel_stage import duel_stage
from trainers.ledger import Ledger
from trainers.target import Built, Player, StopRequested

FIRST = {"train": 0, "screen": 10_000, "topup": 20_000, "duel": 30_000, "measure": 40_000, "confirm": 50_000}
INCUMBENT = Version("v000001", 1, {}, "0" * 64)
BUILT = Built(steps=1, config_sha256="1" * 64)
SIDE_AT_FAULT = ("exit_code", "bad_output", "no_output", "games_mismatch", "output_too_large", "nan", "crashed")
MAYBE_THE_MACHINE = ("timeout", "build_timeout", "config_file", "out_of_memory", "build_failed")

Fault = Callable[[int, int], str | None]
"""(first seed, games) of a call -> the reason it fails for, None where it does not."""


def never(first_seed: int, games: int) -> str | None:
    return None


@dataclass
class ScriptedPlayer:
    """Scores are a hash of name and seed; a call fails as the script says."""

    name: str
    chance: float = 0.5
    fault: Fault = never
    calls: list[tuple[int, int]] = field(default_factory=list)

    def play(self, first_seed: int, games: int) -> Sequence[float]:
        self.calls.append((first_seed, games))
        reason = self.fault(first_seed, games)
        if reason == "stop":
            raise StopRequested
        if reason is not None:
            raise TrialError(reason, "as scripted")
        return [float(chance(f"{self.name}:{seed}") < self.chance) for seed in range(first_seed, first_seed + games)]


def chance(what: str) -> float:
    return int.from_bytes(hashlib.sha256(what.encode()).digest()[:7], "big") / 2**56


class ScriptedTarget:
    block_games = 100

    def __init__(self, ours: ScriptedPlayer, theirs: ScriptedPlayer) -> None:
        self.ours, self.theirs = ours, theirs

    def build(self, params: Params, work: Path) -> Built:
        return BUILT

    def candidate(self, params: Params, built: Built) -> Player:
        return self.ours

    def incumbent(self, version: Version) -> Player:
        return self.theirs

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def folder() -> Iterator[Path]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


def spec(**changes: object) -> TrialSpec:
    values: dict[str, object] = {"incumbent": INCUMBENT, "games": 20, "params": {}, **changes}
    budget = Budget(steps=0, wall_s=60.0, ram_mb=64)
    head = {"run_id": "test", "iteration": 2, "target": "a/b", "kind": "x:Y", "purpose": "search", "sampler": "spsa"}
    return TrialSpec(**head, level=0, scale="small", budget=budget, seeds=FIRST, **values)  # type: ignore[arg-type]


def contest(folder: Path, ours: ScriptedPlayer, theirs: ScriptedPlayer, measure: int = 0, **plan: object) -> DuelResult:
    """A duel that, unless the plan says otherwise, plays 100 pairs and never reaches a verdict before."""
    constants = {"max_pairs": 100, "beta": 1e-9, "evidence_threshold": 1e30, **plan}
    duel = DuelSpec(2, INCUMBENT, contract.TestPlan(**constants), measure)  # type: ignore[arg-type]
    result = TrialResult(iteration=2, status=Status.COMPLETE)
    target = ScriptedTarget(ours, theirs)
    return duel_stage(spec(), result, duel, BUILT, target, Ledger(folder, ManualControl()))


def at(*numbers: int, reason: str = "exit_code", phase: str = "duel") -> Fault:
    """Every call that holds one of these games of the phase fails."""
    seeds = {FIRST[phase] + number for number in numbers}
    return lambda first, games: reason if seeds & set(range(first, first + games)) else None


def large_calls(reason: str) -> Fault:
    return lambda first, games: reason if games > 1 else None


def wins(name: str, numbers: range, but: Sequence[int] = ()) -> float:
    return sum(chance(f"{name}:{FIRST['duel'] + number}") < 0.5 for number in numbers if number not in but)


@pytest.mark.parametrize("reason", SIDE_AT_FAULT)
@pytest.mark.parametrize("side", ["candidate", "incumbent"])
def test_a_side_loses_the_game_it_fails_in_and_no_other(folder: Path, side: str, reason: str) -> None:
    ours, theirs = ScriptedPlayer("ours"), ScriptedPlayer("theirs")
    faulty = ours if side == "candidate" else theirs
    faulty.fault = at(7, reason=reason)
    found = contest(folder, ours, theirs)
    assert found.decision is not None
    assert (found.dropped_pairs, found.decision.n_pairs) == (0, 100)
    lost = {"candidate": ([7], []), "incumbent": ([], [7])}[side]
    difference = wins("ours", range(100), lost[0]) - wins("theirs", range(100), lost[1])
    assert found.decision.effect == pytest.approx(difference / 100)
    seed = FIRST["duel"] + 7
    assert faulty.calls.count((FIRST["duel"], 100)) == 3
    assert faulty.calls.count((seed, 1)) == 3
    assert faulty.calls.count((seed + 1, 1)) == 1


@pytest.mark.parametrize("reason", MAYBE_THE_MACHINE)
def test_a_failure_that_may_be_the_machines_drops_the_pair(folder: Path, reason: str) -> None:
    found = contest(folder, ScriptedPlayer("ours"), ScriptedPlayer("theirs", fault=at(7, reason=reason)), max_pairs=90)
    assert found.decision is not None
    assert (found.dropped_pairs, found.decision.n_pairs) == (1, 90)
    played = [number for number in range(91) if number != 7]
    difference = sum(wins("ours", range(n, n + 1)) - wins("theirs", range(n, n + 1)) for n in played)
    assert found.decision.effect == pytest.approx(difference / 90)


def test_a_game_both_sides_fail_in_is_dropped(folder: Path) -> None:
    found = contest(folder, ScriptedPlayer("ours", fault=at(3)), ScriptedPlayer("theirs", fault=at(3)), max_pairs=90)
    assert found.decision is not None
    assert found.dropped_pairs == 1


def test_one_failure_of_the_machine_among_the_three_drops_the_pair(folder: Path) -> None:
    reasons = iter(["exit_code"] * 3 + ["exit_code", "timeout", "exit_code"])
    at_7 = at(7)
    player = ScriptedPlayer("theirs", fault=lambda first, games: next(reasons) if at_7(first, games) else None)
    found = contest(folder, ScriptedPlayer("ours"), player, max_pairs=90)
    assert (found.dropped_pairs, next(reasons, None)) == (1, None)


@pytest.mark.parametrize("reason", ["exit_code", "timeout"])
def test_a_block_whose_games_can_all_be_played_alone_costs_nobody_anything(folder: Path, reason: str) -> None:
    whole = contest(folder / "a", ScriptedPlayer("ours"), ScriptedPlayer("theirs"))
    pieces = contest(folder / "b", ScriptedPlayer("ours"), ScriptedPlayer("theirs", fault=large_calls(reason)))
    assert pieces == whole


@pytest.fixture(autouse=True)
def _folders(folder: Path) -> None:
    for name in "ab":
        (folder / name).mkdir()


@pytest.mark.parametrize(("dropped", "status"), [(2, Status.COMPLETE), (3, Status.INVALID)])
def test_more_than_two_of_a_hundred_pairs_dropped_is_invalid(folder: Path, dropped: int, status: Status) -> None:
    fault = at(*range(5, 5 + dropped), reason="timeout")
    found = contest(folder, ScriptedPlayer("ours"), ScriptedPlayer("theirs", fault=fault), max_pairs=90)
    assert found.status is status
    assert (found.reason is Reason.DROPPED_PAIRS) == (status is Status.INVALID)


def test_a_verdict_on_too_many_dropped_pairs_does_not_count(folder: Path) -> None:
    ours = ScriptedPlayer("ours", chance=1.1)
    theirs = ScriptedPlayer("theirs", chance=-1.0, fault=at(80, 81, 82, reason="timeout"))
    found = contest(folder, ours, theirs, evidence_threshold=20.0)
    assert (found.status, found.reason, found.decision) == (Status.INVALID, Reason.DROPPED_PAIRS, None)


def test_a_hanging_side_is_given_up_once_the_contest_is_lost_anyway(folder: Path) -> None:
    theirs = ScriptedPlayer("theirs", fault=lambda first, games: "timeout")
    found = contest(folder, ScriptedPlayer("ours"), theirs)
    assert found.status is Status.INVALID
    assert len(theirs.calls) == 3 + 3 * 3  # the block, and one game more than may be dropped


def test_a_hanging_side_ends_the_measuring_and_the_verdict_stands(folder: Path) -> None:
    theirs = ScriptedPlayer("theirs", chance=-1.0)
    theirs.fault = lambda first, games: "timeout" if first >= FIRST["measure"] + 100 else None
    ours = ScriptedPlayer("ours", chance=1.1)
    found = contest(folder, ours, theirs, measure=300, evidence_threshold=20.0)
    assert found.decision is not None
    assert found.decision.outcome is Outcome.PROMOTE
    assert (found.measured_candidate.games, found.measured_incumbent.games, found.measured_gain) == (100, 100, 1.0)
    assert max(first for first, _ in theirs.calls) < FIRST["measure"] + 200


def lines(folder: Path) -> list[dict[str, object]]:
    found = [json.loads(line) for line in (folder / "games.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("seconds", "check")} for line in found]


def scripted_pair() -> tuple[ScriptedPlayer, ScriptedPlayer]:
    lost, dropped = at(7), at(9, reason="timeout")
    ours = ScriptedPlayer("ours", fault=at(7, 150))
    theirs = ScriptedPlayer("theirs", fault=lambda first, games: lost(first, games) or dropped(first, games))
    return ours, theirs


def test_a_side_and_block_stay_one_line_that_says_what_happened_to_each_game(folder: Path) -> None:
    contest(folder, *scripted_pair(), max_pairs=190)
    found = lines(folder)
    assert [(line["side"], line["block"], line["games"]) for line in found] == [
        ("candidate", 0, 100),
        ("incumbent", 0, 100),
        ("candidate", 100, 100),
        ("incumbent", 100, 100),
    ]
    scores = found[1]["scores"]
    assert isinstance(scores, list)
    assert (len(scores), scores[7], scores[9]) == (100, 0.0, None)
    failures = found[1]["failures"]
    assert isinstance(failures, list)
    assert [(failure["game"], failure["reason"]) for failure in failures] == [(7, "exit_code"), (9, "timeout")]


def test_a_stopped_contest_goes_on_to_the_same_lines_and_asks_nothing_twice(folder: Path) -> None:
    expected = contest(folder / "a", *scripted_pair(), max_pairs=190)
    ours, theirs = scripted_pair()
    finish = theirs.fault
    theirs.fault = lambda first, games: "stop" if first == FIRST["duel"] + 50 else finish(first, games)
    with pytest.raises(StopRequested):
        contest(folder / "b", ours, theirs, max_pairs=190)
    assert lines(folder / "b") == lines(folder / "a")[:1]
    again, others = scripted_pair()
    assert contest(folder / "b", again, others, max_pairs=190) == expected
    assert lines(folder / "b") == lines(folder / "a")
    assert min(first for first, _ in again.calls) == FIRST["duel"] + 100


def test_the_replay_command_reads_the_pairs_that_counted(folder: Path) -> None:
    found = contest(folder, *scripted_pair(), max_pairs=190)
    games = replay.read(folder / "games.jsonl")
    assert found.decision is not None
    assert games.dropped == found.dropped_pairs == 2
    differences = [a - b for a, b in games.pairs[:190]]
    assert found.decision.effect == pytest.approx(sum(differences) / 190)


@pytest.mark.parametrize("phase", ["screen", "topup"])
@pytest.mark.parametrize("reason", ["exit_code", "timeout"])
def test_outside_the_duel_a_failing_side_ends_the_trial(folder: Path, phase: str, reason: str) -> None:
    theirs = ScriptedPlayer("theirs", fault=at(3, reason=reason, phase=phase))
    target = ScriptedTarget(ScriptedPlayer("ours"), theirs)
    with pytest.raises(TrialError) as caught:
        build_stage(spec(topup_games=20), folder, target, Ledger(folder, ManualControl()))
    assert caught.value.reason == reason
    assert len(theirs.calls) == {"screen": 3, "topup": 4}[phase]


def unlucky(name: str, games: int) -> Fault:
    """One game in 1000 crashes, another hangs."""
    draws = random.Random(name)
    reasons = {FIRST["duel"] + game: draws.random() for game in range(games)}
    faulty = {seed: "exit_code" if draw < 0.001 else "timeout" for seed, draw in reasons.items() if draw < 0.002}
    return lambda first, games: next((faulty[seed] for seed in faulty if first <= seed < first + games), None)


def test_equal_sides_with_faults_are_promoted_no_more_often_than_promised(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Besides single games, the incumbent's whole first block fails."""
    monkeypatch.setattr(paired, "confidence_interval", lambda batches: (-1.0, 1.0))  # slow, and it decides nothing
    simulations, most = 200, 600
    promoted = invalid = 0
    for simulation in range(simulations):
        place = folder / str(simulation)
        place.mkdir()
        ours, theirs = (ScriptedPlayer(f"{side} {simulation}") for side in ("ours", "theirs"))
        ours.fault, later = unlucky(ours.name, most + 100), unlucky(theirs.name, most + 100)
        theirs.fault = lambda first, games, later=later: (  # type: ignore[misc]
            "exit_code" if games > 1 and first == FIRST["duel"] else later(first, games)
        )
        found = contest(place, ours, theirs, max_pairs=most, beta=0.2, evidence_threshold=20.0)
        promoted += found.decision is not None and found.decision.outcome is Outcome.PROMOTE
        invalid += found.status is Status.INVALID
    assert promoted <= 0.05 * simulations + 6  # two standard deviations of the count
    assert invalid < simulations / 4
