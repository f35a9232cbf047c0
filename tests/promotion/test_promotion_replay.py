"""`python -m supervisor.promotion.replay`."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from supervisor.contract import DuelSpec, Version, as_json
from supervisor.contract import TestPlan as Plan
from supervisor.promotion import replay

WINS = [[1, 0]] * 60
VERSION = Version("v000001", 1, {}, "0" * 64)


def _write(path, rows, end="\n"):
    path.write_text("\n".join(json.dumps(row) for row in rows) + end)
    return path


def _block(side, block, scores, failed=(), phase="duel"):
    row = {"phase": phase, "side": side, "block": block, "first_seed": 5, "games": len(scores), "seconds": 0.1}
    failures = [{"game": game, "reason": "exit_code", "detail": ""} for game in failed]
    return {**row, "scores": scores, "failures": failures, "error": None, "detail": ""}


def test_the_command_prints_the_verdict_on_a_file_of_pairs(tmp_path):
    path = _write(tmp_path / "pairs.jsonl", WINS)
    command = [sys.executable, "-m", "supervisor.promotion.replay", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "promote (proven) after 40 pairs"
    assert "40 better, 0 even, 0 worse" in done.stdout
    assert "not counted  20 pairs" in done.stdout
    assert done.stderr == ""


def test_the_verdict_on_a_trials_games_is_that_of_its_pairs_in_order_of_seed(tmp_path):
    rows = [
        _block("candidate", 0, [0.0] * 50, phase="screen"),
        _block("incumbent", 50, [1.0] * 50),
        _block("candidate", 50, [0.0] * 50),
        _block("candidate", 0, [1.0] * 50),
        _block("incumbent", 0, [0.5] * 50),
        _block("candidate", 100, [1.0] * 50),  # the incumbent's half has not been played yet
        _block("candidate", 0, [0.0] * 50, phase="measure"),
    ]
    games = replay.read(_write(tmp_path / "games.jsonl", rows))
    assert games.pairs == ((1.0, 0.5),) * 50 + ((0.0, 1.0),) * 50


def test_a_game_without_a_score_and_one_both_sides_failed_in_are_dropped(tmp_path):
    rows = [
        _block("candidate", 0, [0.0, 0.0, None, 1.0], failed=[0, 1, 2]),
        _block("incumbent", 0, [1.0, 0.0, 0.5, None], failed=[1, 3]),
    ]
    games = replay.read(_write(tmp_path / "games.jsonl", rows))
    assert games.pairs == ((0.0, 1.0),)
    assert games.dropped == 3
    assert "dropped      3 pairs" in replay.report(Plan(), games)


def test_the_constants_come_from_the_duel_beside_the_games(tmp_path, capsys):
    path = _write(tmp_path / "games.jsonl", WINS)
    duel = DuelSpec(iteration=2, incumbent=VERSION, plan=Plan(evidence_threshold=1000.0), measure_pairs=200)
    (tmp_path / "duel.json").write_text(json.dumps(as_json(duel)))
    assert replay.main([str(path)]) == 0
    stricter = capsys.readouterr().out
    assert "promotes at 1000" in stricter
    assert replay.main([str(path), "--alpha", "0.5"]) == 0
    assert "promotes at 2" in capsys.readouterr().out


def test_a_test_without_verdict_says_how_far_it_is(tmp_path, capsys):
    path = _write(tmp_path / "pairs.jsonl", [[1, 1], [0, 0], [1, 0], [0, 1], [0.5, 0.5]] * 5)
    assert replay.main([str(path)]) == 0
    output = capsys.readouterr().out
    assert output.startswith("no verdict after 20 pairs; the test goes on to 3000\n")
    assert "not counted  5 pairs" in output


def test_fewer_pairs_than_a_batch_are_no_error(tmp_path, capsys):
    assert replay.main([str(_write(tmp_path / "pairs.jsonl", [[1, 0]]))]) == 0
    assert "no verdict after 0 pairs" in capsys.readouterr().out


def test_the_largest_number_of_pairs_ends_the_test(tmp_path, capsys):
    path = _write(tmp_path / "pairs.jsonl", [[1, 0], [0, 1]] * 20)
    assert replay.main([str(path), "--max-pairs", "20"]) == 0
    assert capsys.readouterr().out.startswith("inconclusive (pairs_exhausted) after 20 pairs")


def test_a_torn_last_line_is_left_out_and_said(tmp_path, capsys):
    path = tmp_path / "pairs.jsonl"
    path.write_text("[1, 0]\n" * 10 + "[1,")
    assert replay.main([str(path)]) == 0
    assert "the last line is not finished" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("win", "is not JSON"),
        ("", "is not JSON"),
        ("[1, 0, 1]", "is no pair"),
        ("[1, 2]", "holds the score 2"),
        ("[true, 0]", "holds the score True"),
        ("[NaN, 0]", "holds the score nan"),
        ('{"phase":"duel","side":"c3","block":0,"scores":[]}', "lacks a side"),
        ('{"phase":"duel","side":"candidate","block":0}', "no list"),
        ('{"phase":"duel","side":"candidate","block":0,"games":2,"scores":[1]}', "says 2 games and holds 1"),
        (
            '{"phase":"duel","side":"candidate","block":0,"games":2,"scores":[],"error":"nan"}',
            "says 2 games and holds 0",
        ),
        ('{"phase":"duel","side":"candidate","block":0,"scores":[1],"failures":[{}]}', '"failures" that are no list'),
        ('{"phase":"duel","side":"candidate","block":0,"scores":[1],"failures":7}', '"failures" that are no list'),
    ],
)
def test_a_wrong_line_is_named_with_its_number(tmp_path, capsys, line, complaint):
    path = tmp_path / "pairs.jsonl"
    path.write_text(f"[1, 0]\n{line}\n[0, 0]\n{line}\n")
    assert replay.main([str(path)]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"{path}:2: ")
    assert complaint in first
    assert second.startswith(f"{path}:4: ")


def test_of_very_many_wrong_lines_the_first_are_shown(tmp_path, capsys):
    path = tmp_path / "pairs.jsonl"
    path.write_text("no\n" * 500)
    assert replay.main([str(path)]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "... and 480 more"


def test_two_sides_of_different_length_are_an_error(tmp_path, capsys):
    path = _write(tmp_path / "games.jsonl", [_block("candidate", 0, [1.0]), _block("incumbent", 0, [1.0, 0.0])])
    assert replay.main([str(path)]) == 2
    assert "block 0 has 1 games of one side and 2 of the other" in capsys.readouterr().err


def test_a_mixture_of_both_forms_is_an_error(tmp_path, capsys):
    path = _write(tmp_path / "games.jsonl", [[1, 0], _block("candidate", 0, [1.0])])
    assert replay.main([str(path)]) == 2
    assert "keep to one of them" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "", '{"phase":"screen"}\n'])
def test_a_file_without_pairs_is_an_error(tmp_path, capsys, content):
    path = tmp_path / "pairs.jsonl"
    if content is not None:
        path.write_text(content)
    assert replay.main([str(path)]) == 2
    assert str(path) in capsys.readouterr().err


def test_a_damaged_duel_beside_the_games_is_an_error(tmp_path, capsys):
    path = _write(tmp_path / "games.jsonl", WINS)
    (tmp_path / "duel.json").write_text('{"iteration": 1}')
    assert replay.main([str(path)]) == 2
    assert "is damaged" in capsys.readouterr().err


def test_all_impossible_options_are_named_at_once(tmp_path, capsys):
    path = _write(tmp_path / "pairs.jsonl", WINS)
    assert replay.main([str(path), "--alpha", "5", "--min-improvement", "1", "--max-pairs", "0"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3
