from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from supervisor.contract import Params, Version
from supervisor.errors import TrialError
from tests.support.programs import (
    ANSWER,
    CONFIG,
    OTHER_PARAMS,
    PARAMS,
    PLAYER,
    calls,
    command_settings,
    copied,
    make_program,
    trial_spec,
)
from tests.support.rights import as_anybody
from tests.support.target_conformance import ManualControl, TargetConformance
from trainers.command import CommandTarget
from trainers.command_run import OUTPUT_LIMIT_BYTES
from trainers.target import Control, StopRequested


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The user's folder."""
    return make_program(tmp_path / "user").parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "run" / "trials" / "000001"
    folder.mkdir(parents=True)
    return folder


def open_target(folder: Path, program: Path, control: Control | None = None, **settings: Any) -> CommandTarget:
    return CommandTarget(trial_spec(command_settings(program, **settings)), folder, control or ManualControl())


def play(target: CommandTarget, params: Params = PARAMS, games: int = 3) -> list[float]:
    return list(target.incumbent(Version("v000001", 1, params, "")).play(77, games))


def is_as_it_was(program: Path) -> bool:
    hidden = [entry.name for entry in program.iterdir() if "incumbent" in entry.name]
    return (program / "config.yaml").read_text() == CONFIG and not hidden


def failure(target: CommandTarget, params: Params = PARAMS) -> TrialError:
    with pytest.raises(TrialError) as caught:
        play(target, params)
    return caught.value


class TestInPlace(TargetConformance):
    params = OTHER_PARAMS

    def open_target(self, folder: Path, control: Control) -> CommandTarget:
        user = folder.parents[2] / "user"
        return open_target(folder, make_program(user).parent, control)


class TestWithACopiedFile(TargetConformance):
    params = OTHER_PARAMS

    def open_target(self, folder: Path, control: Control) -> CommandTarget:
        user = make_program(folder.parents[2] / "user").parent
        return open_target(folder, user, control, evaluate=copied(user), build=["/bin/sh", "-c", "true"])


class TestWithACopiedTree(TargetConformance):
    params = OTHER_PARAMS

    def open_target(self, folder: Path, control: Control) -> CommandTarget:
        user = make_program(folder.parents[2] / "user").parent
        evaluate = ["/bin/sh", "bot.sh", "{games}", "{seed}"]
        return open_target(
            folder, user, control, evaluate=evaluate, source_dir=str(user), build=["/bin/sh", "-c", "true"]
        )


MISBEHAVIOUR = {
    "a non-zero exit": ("echo broken >&2; exit 3", "exit_code", "broken"),
    "a non-zero exit after a good answer": (PLAYER + ANSWER + "exit 1", "exit_code", "exit code 1"),
    "a crash": ("kill -SEGV $$", "exit_code", "killed by SIGSEGV"),
    "an exit before the configuration was read": ("exit 0", "no_output", "answered nothing"),
    "garbage": ("head -c 2000 /dev/urandom", "bad_output", "expected one JSON object"),
    "text instead of JSON": ("echo I won", "bad_output", "I won"),
    "NaN": ("echo '{\"games\":[NaN,1,1]}'", "nan", "games[0]"),
    "NaN totals": ('echo \'{"wins":NaN,"draws":0,"losses":0}\'', "nan", "wins"),
    "totals of another number of games": ('echo \'{"wins":2,"draws":0,"losses":0}\'', "games_mismatch", "2 + 0 + 0"),
    "a list of another length": ("echo '{\"games\":[1]}'", "games_mismatch", "1 are listed"),
    "100 MB of output": ("head -c 104857600 /dev/zero", "output_too_large", str(OUTPUT_LIMIT_BYTES)),
    "endless output": ("yes", "output_too_large", str(OUTPUT_LIMIT_BYTES)),
}


@pytest.mark.parametrize("name", MISBEHAVIOUR)
@pytest.mark.parametrize("in_place", [True, False])
def test_every_misbehaviour_has_its_reason_and_leaves_the_users_file(
    folder: Path, tmp_path: Path, name: str, in_place: bool
) -> None:
    body, reason, detail = MISBEHAVIOUR[name]
    program = make_program(tmp_path / "user", body).parent
    target = open_target(folder, program, **({} if in_place else {"evaluate": copied(program)}))
    error = failure(target, OTHER_PARAMS)
    target.close()
    assert error.reason == reason
    assert detail in error.detail
    assert "bot.sh" in error.detail
    assert len(error.detail) <= 2000
    assert is_as_it_was(program)


def test_a_program_that_hangs_is_ended_after_timeout_s(folder: Path, tmp_path: Path) -> None:
    program = make_program(tmp_path / "user", "sleep 1000 & wait").parent
    target = open_target(folder, program, timeout_s=0.2)
    error = failure(target)
    target.close()
    assert (error.reason, "0.2 s" in error.detail) == ("timeout", True)
    assert is_as_it_was(program)


def test_a_command_that_does_not_exist_is_told(folder: Path, program: Path) -> None:
    target = open_target(folder, program, evaluate=["./nothing-here", "{games}"])
    error = failure(target)
    target.close()
    assert error.reason == "exit_code"
    assert "nothing-here cannot be started" in error.detail
    assert is_as_it_was(program)


BUILDS = {
    "a failing build": (["/bin/sh", "-c", "echo no rule >&2; exit 2"], "build_failed", "no rule"),
    "a build that cannot be started": (["./make-it"], "build_failed", "make-it cannot be started"),
    "a hanging build": (["/bin/sh", "-c", "sleep 1000"], "build_timeout", "not built within 0.3 s"),
}


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("in_place", [True, False])
def test_a_build_that_fails_leaves_no_candidate_and_the_users_file(
    folder: Path, program: Path, name: str, in_place: bool
) -> None:
    build, reason, detail = BUILDS[name]
    evaluate = {} if in_place else {"evaluate": copied(program)}
    target = open_target(folder, program, build=build, build_timeout_s=0.3, **evaluate)
    with pytest.raises(TrialError) as caught:
        target.build(OTHER_PARAMS, folder)
    target.close()
    assert caught.value.reason == reason
    assert detail in caught.value.detail
    assert calls(program) == []
    assert is_as_it_was(program)


def test_a_build_of_much_output_is_fine(folder: Path, program: Path) -> None:
    target = open_target(folder, program, build=["/bin/sh", "-c", "head -c 5000000 /dev/zero"])
    target.build(PARAMS, folder)
    target.close()


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ("weights:\n  aggresion: 1\n  caution: 2\n", "did you mean weights.aggresion?"),
        ("weights: [unclosed\n", "not valid YAML"),
        (None, "No such file"),
    ],
)
@pytest.mark.parametrize("in_place", [True, False])
def test_a_configuration_file_that_cannot_be_edited_is_told(
    folder: Path, program: Path, change: str | None, detail: str, in_place: bool
) -> None:
    config = program / "config.yaml"
    if change is None:
        config.unlink()
    else:
        config.write_text(change)
    target = open_target(folder, program, **({} if in_place else {"evaluate": copied(program)}))
    with pytest.raises(TrialError) as caught:
        target.build(OTHER_PARAMS, folder)
    target.close()
    assert caught.value.reason == "config_file"
    assert detail in caught.value.detail
    assert str(config) in caught.value.detail
    assert (config.read_text() if config.exists() else None) == change


def test_totals_are_played_as_that_many_games(folder: Path, tmp_path: Path) -> None:
    program = make_program(tmp_path / "user", 'echo \'{"wins":1,"draws":1,"losses":1}\'').parent
    target = open_target(folder, program)
    assert sorted(play(target)) == [0.0, 0.5, 1.0]
    target.close()


def test_the_answer_may_be_a_file_and_the_output_noise_of_any_size(folder: Path, tmp_path: Path) -> None:
    body = 'head -c 5000000 /dev/zero; echo \'{"games":[1,0,1],"length":9}\' > "$OUT"'
    program = make_program(tmp_path / "user", body).parent
    target = open_target(folder, program, evaluate=[*copied(program), "{out}"], metrics=["length"])
    player = target.incumbent(Version("v000001", 1, PARAMS, ""))
    assert list(player.play(1, 3)) == [1.0, 0.0, 1.0]
    assert player.metrics == {"length": 9.0}
    target.close()


def test_an_answer_file_of_an_earlier_block_is_not_read_again(folder: Path, tmp_path: Path) -> None:
    body = 'if [ "$SEED" = 1 ]; then echo \'{"games":[1,0,1]}\' > "$OUT"; fi'
    program = make_program(tmp_path / "user", body).parent
    target = open_target(folder, program, evaluate=[*copied(program), "{out}"])
    player = target.incumbent(Version("v000001", 1, PARAMS, ""))
    player.play(1, 3)
    with pytest.raises(TrialError, match="no_output"):
        player.play(2, 3)
    target.close()


def test_an_answer_file_that_is_too_large_is_not_read(folder: Path, tmp_path: Path) -> None:
    program = make_program(tmp_path / "user", 'head -c 2000000 /dev/zero > "$OUT"').parent
    target = open_target(folder, program, evaluate=[*copied(program), "{out}"])
    assert failure(target).reason == "output_too_large"
    target.close()


def count_builds(program: Path) -> int:
    path = program / "builds"
    return len(path.read_text().splitlines()) if path.exists() else 0


def counted_build(program: Path) -> list[str]:
    return ["/bin/sh", "-c", f"echo built >> {program}/builds; sleep 0"]


@pytest.mark.parametrize("in_place", [True, False])
def test_the_same_configuration_on_both_sides_is_built_once(folder: Path, program: Path, in_place: bool) -> None:
    evaluate = {} if in_place else {"evaluate": copied(program)}
    target = open_target(folder, program, build=counted_build(program), **evaluate)
    built = target.build(PARAMS, folder)
    candidate = target.candidate(PARAMS, built)
    incumbent = target.incumbent(Version("v000001", 1, dict(PARAMS), ""))
    for seed in (1, 5, 9):
        assert candidate.play(seed, 2) == incumbent.play(seed, 2)
    target.close()
    assert count_builds(program) == 1


@pytest.mark.parametrize("in_place", [True, False])
def test_two_sides_that_take_turns_play_what_each_plays_alone(folder: Path, program: Path, in_place: bool) -> None:
    target = open_target(folder, program, **({} if in_place else {"evaluate": copied(program)}))
    alone = [play(target, params, 12) for params in (PARAMS, OTHER_PARAMS)]
    in_turns = [play(target, params, 12) for _ in range(2) for params in (OTHER_PARAMS, PARAMS)]
    target.close()
    assert alone[0] != alone[1]
    assert in_turns == [alone[1], alone[0]] * 2


def test_copies_are_built_once_per_configuration_also_by_the_next_process(folder: Path, program: Path) -> None:
    for _ in range(2):
        target = open_target(folder, program, build=counted_build(program), evaluate=copied(program))
        for params in (PARAMS, OTHER_PARAMS, PARAMS):
            play(target, params)
        target.close()
    assert count_builds(program) == 2


def test_what_was_built_before_a_reboot_is_built_again(
    folder: Path, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = open_target(folder, program, build=counted_build(program), evaluate=copied(program))
    play(target)
    monkeypatch.setattr(target._sides, "_boot", "another")
    play(target)
    play(target)
    target.close()
    assert count_builds(program) == 2


def test_a_protected_folder_that_an_unfinished_build_left_is_no_obstacle(folder: Path, program: Path) -> None:
    with contextlib.closing(open_target(folder, program, evaluate=copied(program))) as target:
        scores = play(target)
    for mark in folder.rglob("built.json"):
        left = mark.parent / "dist"
        left.mkdir()
        (left / "out.bin").write_text("x")
        left.chmod(0o555)
        mark.unlink()
    with as_anybody(), contextlib.closing(open_target(folder, program, evaluate=copied(program))) as target:
        assert play(target) == scores
    assert not list(folder.rglob("dist"))


def test_in_place_a_change_of_sides_builds_again_what_the_file_now_holds(folder: Path, program: Path) -> None:
    build = ["/bin/sh", "-c", "cp config.yaml compiled-in"]
    target = open_target(folder, program, build=build)
    for params, value in ((PARAMS, "0.5"), (OTHER_PARAMS, "0.75"), (PARAMS, "0.5")):
        play(target, params)
        assert f"aggression: {value}" in (program / "compiled-in").read_text()
    target.close()
    assert is_as_it_was(program)


def test_both_copies_come_from_one_look_at_the_users_file(folder: Path, program: Path) -> None:
    target = open_target(folder, program, evaluate=copied(program))
    play(target, PARAMS)
    (program / "config.yaml").write_text(CONFIG.replace("hand-tuned", "edited meanwhile"))
    play(target, OTHER_PARAMS)
    target.close()
    copies = [Path(line.split()[2]).read_text() for line in calls(program)]
    assert len(set(copies)) == 2
    assert all("hand-tuned" in copy for copy in copies)


def test_a_source_tree_that_holds_the_run_folder_does_not_copy_itself(tmp_path: Path) -> None:
    program = make_program(tmp_path / "user").parent
    folder = program / "checkpoints" / "trials" / "000001"
    folder.mkdir(parents=True)
    (program / ".git").mkdir()
    (program / "lib").mkdir()
    (program / "lib" / "link").symlink_to("../bot.sh")
    evaluate = ["/bin/sh", "bot.sh", "{games}", "{seed}"]
    target = open_target(folder, program, evaluate=evaluate, source_dir=str(program), build=["touch", "made-here"])
    play(target)
    target.close()
    (copy,) = (path.parent for path in folder.rglob("made-here"))
    assert sorted(entry.name for entry in copy.iterdir()) == ["bot.sh", "calls", "config.yaml", "lib", "made-here"]
    assert (copy / "lib" / "link").is_symlink()
    assert not (program / "made-here").exists()
    assert is_as_it_was(program)


def test_a_wish_to_stop_ends_the_program_and_gives_the_file_back(folder: Path, tmp_path: Path) -> None:
    program = make_program(tmp_path / "user", "sleep 1000").parent
    target = open_target(folder, program, ManualControl(stop_after=3))
    with pytest.raises(StopRequested):
        play(target, OTHER_PARAMS)
    target.close()
    assert len(calls(program)) == 1
    assert is_as_it_was(program)


def test_a_second_trial_waits_for_the_file_and_hears_a_stop_meanwhile(folder: Path, program: Path) -> None:
    first = open_target(folder, program)
    play(first, OTHER_PARAMS)
    second = open_target(folder, program, ManualControl(stop_after=2))
    with pytest.raises(StopRequested):
        play(second)
    second.close()
    first.close()
    assert is_as_it_was(program)


def test_the_version_is_the_hash_of_the_configuration_whatever_its_order(folder: Path, program: Path) -> None:
    target = open_target(folder, program)
    first = target.build(PARAMS, folder)
    second = target.build(dict(reversed(PARAMS.items())), folder)
    other = target.build(OTHER_PARAMS, folder)
    target.close()
    assert first.config_sha256 == second.config_sha256 != other.config_sha256
    assert first.model is None


def test_a_folder_that_cannot_be_written_is_told(folder: Path, program: Path) -> None:
    shutil.rmtree(program / ".config.yaml.incumbent", ignore_errors=True)
    (program / ".config.yaml.incumbent").write_text("somebody's file where our folder goes")
    target = open_target(folder, program)
    assert failure(target).reason == "config_file"
    target.close()
