"""The whole trial process on a command target: its two stages, killed wherever it may be, and its results."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor import contract
from supervisor.contract import DuelResult, DuelSpec, TrialResult, TrialSpec, Version, as_json, parse
from supervisor.external.in_place import restore_leftovers, user_bytes
from supervisor.journal import sealed
from tests.support.kill_matrix import killed_at_each_step
from tests.support.programs import (
    ANSWER,
    CONFIG,
    OTHER_PARAMS,
    PARAMS,
    PLAYER,
    command_settings,
    copied,
    make_program,
    trial_spec,
)
from trainers import worker
from trainers.command_sides import config_sha256

INCUMBENT = Version("v000001", 1, PARAMS, config_sha256(PARAMS))
PLAN = contract.TestPlan(batch_pairs=2, max_pairs=4)


@pytest.fixture
def place() -> Iterator[Path]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def make_trial(place: Path, body: str = PLAYER + ANSWER, **changes: Any) -> Path:
    """A trial folder for a fresh program of the user's."""
    program = make_program(place / "user", body).parent
    settings = command_settings(program, block_games=2, **changes)
    spec = trial_spec(settings, params=OTHER_PARAMS, incumbent=INCUMBENT, games=4)
    folder = place / "run" / "trials" / "000002"
    folder.mkdir(parents=True)
    write(folder / "trial.json", spec)
    return folder


def write(path: Path, value: TrialSpec | DuelSpec) -> None:
    sealed.write(path, as_json(value))


def challenge(folder: Path) -> None:
    """Order the second stage."""
    write(folder / "duel.json", DuelSpec(iteration=2, incumbent=INCUMBENT, plan=PLAN, measure_pairs=2))


def run_worker(folder: Path) -> int:
    """A trial process on the folder; its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = worker.main(str(folder))
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def result(folder: Path) -> TrialResult:
    return parse(TrialResult, sealed.read(folder / "result.json"))


def games(folder: Path) -> list[Any]:
    lines = [json.loads(line) for line in (folder / "games.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("seconds", "check")} for line in lines]


def test_a_trial_plays_both_sides_and_gives_the_file_back(place: Path) -> None:
    folder = make_trial(place)
    assert run_worker(folder) == worker.EXIT_DONE
    found = result(folder)
    assert found.reason is None
    assert (found.candidate.games, found.incumbent.games, found.games) == (4, 4, 8)
    assert found.model_sha256 == config_sha256(OTHER_PARAMS)
    challenge(folder)
    assert run_worker(folder) == worker.EXIT_DONE
    duel = parse(DuelResult, sealed.read(folder / "duel_result.json"))
    assert duel.decision is not None
    assert (place / "user" / "config.yaml").read_text() == CONFIG


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("stride", [pytest.param(1, marks=pytest.mark.slow), 9])
def test_killed_at_any_step_the_users_file_comes_back_and_the_result_is_the_same(
    place: Path, in_place: bool, stride: int
) -> None:
    changes = {} if in_place else {"evaluate": copied(place / "user")}
    folder = make_trial(place, build=["/bin/sh", "-c", "true"], **changes)
    assert run_worker(folder) == worker.EXIT_DONE
    expected, expected_games = result(folder), games(folder)
    config = place / "user" / "config.yaml"

    def prepare() -> None:
        shutil.rmtree(place / "run")
        shutil.rmtree(place / "user")
        make_trial(place, build=["/bin/sh", "-c", "true"], **changes)

    deaths = 0
    for step in killed_at_each_step(lambda: worker.main(str(folder)) and None, prepare, stride - 1, stride):
        deaths += 1
        assert user_bytes(config).decode() == CONFIG
        if step % 2 == 0:
            assert restore_leftovers([config]) == []
            assert config.read_text() == CONFIG
        assert run_worker(folder) == worker.EXIT_DONE
        assert result(folder) == expected
        assert games(folder) == expected_games
        assert config.read_text() == CONFIG
        assert sorted(entry.name for entry in (place / "user").iterdir()) == ["bot.sh", "calls", "config.yaml"]
    assert deaths > 30 / stride


def test_killed_while_the_program_runs_the_users_file_comes_back(place: Path) -> None:
    waits = "if [ ! -e go ]; then echo $$ > running; sleep 1000; fi\n"
    folder = make_trial(place, waits + PLAYER + ANSWER)
    program = place / "user"
    pid = os.fork()
    if pid == 0:
        worker.main(str(folder))
        os._exit(0)
    while not (program / "running").exists() or not (program / "running").read_text().endswith("\n"):
        assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    descriptor = os.pidfd_open(int((program / "running").read_text()))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert (program / "config.yaml").read_text() != CONFIG
    assert restore_leftovers([program / "config.yaml"]) == []
    assert (program / "config.yaml").read_text() == CONFIG
    os.close(descriptor)
    (program / "go").touch()
    assert run_worker(folder) == worker.EXIT_DONE
    assert (program / "config.yaml").read_text() == CONFIG


def test_a_stopped_trial_gives_the_file_back_and_goes_on_where_it_was(place: Path) -> None:
    stops = 'echo x >> blocks; if [ "$(wc -l < blocks)" = 3 ]; then touch ../run/trials/000002/stop; sleep 1000; fi\n'
    folder = make_trial(place, stops + PLAYER + ANSWER)
    assert run_worker(folder) == worker.EXIT_STOPPED
    assert (place / "user" / "config.yaml").read_text() == CONFIG
    assert len(games(folder)) == 2
    (folder / "stop").unlink()
    assert run_worker(folder) == worker.EXIT_DONE
    assert len((place / "user" / "blocks").read_text().splitlines()) == 2 + 1 + 2
    assert result(folder).games == 8


def test_a_program_that_the_system_has_no_process_for_is_not_blamed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object, **options: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    folder = make_trial(place)
    with monkeypatch.context() as patch:
        patch.setattr("subprocess.Popen", refused)
        assert run_worker(folder) == worker.EXIT_REFUSED
    assert not (folder / "result.json").exists()
    assert (place / "user" / "config.yaml").read_text() == CONFIG
    assert run_worker(folder) == worker.EXIT_DONE


def test_a_block_that_fails_once_is_played_again(place: Path) -> None:
    folder = make_trial(place, "if [ ! -e failed ]; then touch failed; exit 1; fi\n" + PLAYER + ANSWER)
    assert run_worker(folder) == worker.EXIT_DONE
    assert result(folder).reason is None


@pytest.mark.parametrize(
    ("body", "changes", "reason"),
    [
        ("exit 3", {}, "exit_code"),
        ("sleep 1000", {"timeout_s": 0.1}, "timeout"),
        ("echo garbage", {}, "bad_output"),
        ("exit 0", {"build": ["/bin/false"]}, "build_failed"),
        ("exit 0", {"config_file": "/nowhere/config.yaml"}, "config_file"),
    ],
)
def test_a_program_that_misbehaves_makes_the_trial_invalid_with_its_reason(
    place: Path, body: str, changes: dict[str, Any], reason: str
) -> None:
    folder = make_trial(place, body, **changes)
    assert run_worker(folder) == worker.EXIT_DONE
    found = result(folder)
    assert (found.status, found.reason) == ("invalid", reason)
    assert found.detail
    assert (place / "user" / "config.yaml").read_text() == CONFIG


def test_listed_metrics_enter_the_result_as_means_per_game(place: Path) -> None:
    folder = make_trial(
        place, 'echo "{\\"games\\":[1,0],\\"length\\":$((SEED % 100)),\\"other\\":1}"', metrics=["length"]
    )
    assert run_worker(folder) == worker.EXIT_DONE
    lengths = [line["first_seed"] % 100 for line in games(folder) if line["side"] == "candidate"]
    assert len(lengths) == 2
    assert result(folder).metrics == {"length": sum(lengths) / 2}


def test_a_confirmation_builds_and_plays_every_candidate(place: Path) -> None:
    folder = make_trial(place)
    settings = command_settings(place / "user", block_games=100)
    candidates = tuple({**PARAMS, "weights.aggression": value} for value in (0.5, 0.25))
    write(folder / "trial.json", trial_spec(settings, params=candidates[0], candidates=candidates, games=2))
    assert run_worker(folder) == worker.EXIT_DONE
    found = result(folder)
    assert found.reason is None
    assert len(found.confirmation) == 2
    assert found.params in candidates
    assert (place / "user" / "config.yaml").read_text() == CONFIG
