from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import TrialError
from trainers.command_output import parse_answer

SEED = 2**51


def reason_of(text: str, games: int = 3, metrics: tuple[str, ...] = ()) -> str:
    with pytest.raises(TrialError) as caught:
        parse_answer(text, games, SEED, metrics)
    assert caught.value.detail
    return caught.value.reason


@pytest.mark.parametrize(
    "text",
    ['{"games":[1,0,0.5]}', '\n {"games": [1.0, 0, 0.5]}\n\n', 'building...\nplaying {1}\n{"games":[1,0,0.5]}\n'],
)
def test_the_object_may_stand_alone_or_on_the_last_line(text: str) -> None:
    answer = parse_answer(text, 3, SEED, ())
    assert answer.scores == (1.0, 0.0, 0.5)


def test_an_object_over_several_lines_is_read() -> None:
    text = json.dumps({"games": [1, 0, 0.5], "length": 7}, indent=2)
    assert parse_answer(text, 3, SEED, ["length"]).metrics == {"length": 7.0}


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 2**53))
def test_totals_become_games_in_an_order_that_only_the_seed_decides(w: int, d: int, x: int, seed: int) -> None:
    text = json.dumps({"wins": w, "draws": d, "losses": x})
    answer = parse_answer(text, w + d + x, seed, ())
    assert sorted(answer.scores) == [0.0] * x + [0.5] * d + [1.0] * w
    assert answer == parse_answer(text, w + d + x, seed, ())


def test_totals_are_shuffled_and_not_all_wins_first() -> None:
    answers = {parse_answer('{"wins":25,"draws":0,"losses":25}', 50, seed, ()).scores for seed in range(20)}
    assert len(answers) == 20
    first_tens = [sum(scores[:10]) for scores in answers]
    assert 3.0 < sum(first_tens) / len(first_tens) < 7.0


def test_draws_may_be_left_out_where_a_game_has_none() -> None:
    assert sorted(parse_answer('{"wins":2,"losses":1}', 3, SEED, ()).scores) == [0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no_output"),
        (" \n\n", "no_output"),
        ("garbage", "bad_output"),
        ("\x00\ufffd\ufffd", "bad_output"),
        ("[1,0,0.5]", "bad_output"),
        ('{"games":[1,0,0.5]', "bad_output"),
        ('{"games":[1,0,0.5]} and more', "bad_output"),
        ("[" * 100_000, "bad_output"),
        ('{"games":"1,0,0.5"}', "bad_output"),
        ('{"games":[1,0,"win"]}', "bad_output"),
        ('{"games":[true,false,true]}', "bad_output"),
        ('{"games":[1,0,null]}', "bad_output"),
        ('{"games":[1,0,2]}', "bad_output"),
        ('{"games":[1,0,-0.1]}', "bad_output"),
        ('{"games":[1,0,NaN]}', "nan"),
        ('{"games":[1,0,Infinity]}', "nan"),
        ('{"games":[1,0]}', "games_mismatch"),
        ('{"games":[1,0,1,0]}', "games_mismatch"),
        ('{"games":[]}', "games_mismatch"),
        ('{"wins":1,"draws":1,"losses":2}', "games_mismatch"),
        ('{"wins":1,"draws":0,"losses":1}', "games_mismatch"),
        ('{"wins":4,"draws":0,"losses":-1}', "bad_output"),
        ('{"wins":1.5,"draws":0,"losses":1.5}', "bad_output"),
        ('{"wins":NaN,"draws":0,"losses":1}', "nan"),
        ('{"wins":3}', "bad_output"),
        ('{"win_rate":0.5}', "bad_output"),
        ('{"wins":1' + "0" * 5000 + ',"draws":0,"losses":0}', "bad_output"),
    ],
)
def test_whatever_is_no_valid_answer_has_its_reason(text: str, reason: str) -> None:
    assert reason_of(text) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"games":[1,0,1]}', "bad_output"),
        ('{"games":[1,0,1],"length":"long"}', "bad_output"),
        ('{"games":[1,0,1],"length":NaN}', "nan"),
    ],
)
def test_a_listed_metric_must_be_there_and_be_a_number(text: str, reason: str) -> None:
    assert reason_of(text, metrics=("length",)) == reason


def test_numbers_that_are_not_listed_stay_out() -> None:
    assert parse_answer('{"games":[1,0,1],"length":7,"secret":8}', 3, SEED, ["length"]).metrics == {"length": 7.0}


@given(st.text(max_size=200))
def test_any_text_is_an_answer_or_a_trial_error(text: str) -> None:
    try:
        answer = parse_answer(text, 3, SEED, ())
    except TrialError:
        return
    assert len(answer.scores) == 3
