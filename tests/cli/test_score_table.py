"""The table of `incumbent train`, and the batch of questions behind it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.commands.evaluate import release_checks
from supervisor.commands.scoretable import TITLES, Row, Table, as_markdown, as_text, summary
from supervisor.commands.scoring import Question, examine, known_card, task_of
from supervisor.contract import Score, ScoreCard, Version, as_json
from supervisor.errors import TryAgainError
from supervisor.journal import sealed
from supervisor.planning import _seeds

VERSION = Version("v000003", 3, {"dqn.gamma": 0.9}, "a" * 64, "b" * 64, None, 2)
QUESTION = Question("mage/combat_dqn", VERSION, 2)


FIRST = Score(0.8, 0.77, 0.83)


def card(low: float = 0.1, first: Score = FIRST, **changes) -> ScoreCard:
    return ScoreCard(
        task=replace(task_of(QUESTION, 0, 1000), **changes),
        untrained=Score(0.1, 0.08, 0.12),
        trained=Score(0.5, 0.47, 0.53),
        gain=0.4,
        gain_low=low,
        gain_high=0.6,
        first_level=first,
        bar=0.5,
        bar_name="traditional AI, level 1",
        parameters=26122,
        measured={"entropy_bits": 2.5},
        latency_ms={"batch_1": 0.014, "batch_128": 0.2},
    )


def table(*rows: Row) -> Table:
    return Table(rows, 1000, "small")


def test_every_target_has_a_line_of_the_same_columns_with_its_figures() -> None:
    text = as_text(table(Row("mage/combat_dqn", card(), None), Row("tank/skill_dqn", None, None)))
    lines = text.splitlines()
    assert len({len(line) for line in lines}) == 1
    assert all(title in lines[0] for title in TITLES)
    for figure in ("10.0", "50.0", "+40.0 (+10.0 to +60.0)", "80.0 (77.0 to 83.0)", "26,122", "0.01, 0.20"):
        assert figure in lines[1]
    assert "was not trained" in lines[2]


def test_the_markdown_says_how_many_learnt_and_how_many_pass_the_baseline() -> None:
    unsure = card(low=-0.01, first=Score(0.52, 0.49, 0.55))
    found = as_markdown(table(Row("a/b", card(), None), Row("a/c", unsure, None), Row("a/d", None, None)))
    assert found.count("\n| ") == 4
    assert "1 of 3 are better than their untrained selves beyond doubt, 1 better than their baseline" in found
    assert "1 of 3" in summary(table(Row("a/b", card(), None), Row("a/c", unsure, None), Row("a/d", None, None)))


def test_a_card_answers_its_own_question_only(tmp_path: Path) -> None:
    folder = tmp_path / "reports" / "mage.combat_dqn"
    folder.mkdir(parents=True)
    task = card().task
    assert known_card(tmp_path, task) is None
    sealed.write(folder / "card.json", as_json(card()))
    assert known_card(tmp_path, task) == card()
    assert examine(tmp_path, [task], 1, print) == {"mage/combat_dqn": card()}
    for other in (replace(task, games=2000), replace(task, model_sha256="c" * 64), replace(task, seed=1)):
        assert known_card(tmp_path, other) is None
    (folder / "card.json").write_bytes(sealed.encode(as_json(card())).replace(b"26122", b"26123"))
    assert known_card(tmp_path, task) is None


def test_the_games_are_the_versions_own_and_follow_from_the_runs_seed() -> None:
    one = task_of(QUESTION, 0, 1000)
    assert one == task_of(QUESTION, 0, 1000)
    later = replace(QUESTION, version=replace(VERSION, iteration=4))
    seeds = {one.seed, one.untrained_seed, task_of(QUESTION, 1, 1000).seed, task_of(later, 0, 1000).seed}
    assert len(seeds) == 4


def test_the_untrained_self_is_the_network_that_the_versions_own_training_began_with() -> None:
    trained = _seeds(0, QUESTION.target, VERSION.iteration, VERSION.iteration)["train"]
    assert task_of(QUESTION, 0, 1000).untrained_seed == trained


def test_an_examination_that_fails_says_why_and_can_be_tried_again(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with pytest.raises(TryAgainError, match="is missing or is not the file with sha256 aaaa"):
        examine(tmp_path, [card().task], 1, lambda text: None)


def test_a_release_is_held_against_the_quantities_that_its_model_type_has() -> None:
    checks = release_checks(replace(card(), measured={"entropy_bits": 2.5, "reward": 99.0}))
    assert {name: check.passed for name, check in checks.items()} == {
        "win_rate": True,
        "reward": False,
        "entropy_bits": True,
        "explained_variance": None,
        "latency_ms": True,
    }
    slow = replace(card(), latency_ms={"batch_1": 1.0, "batch_128": 15.0}, first_level=Score(0.7, 0.6, 0.8))
    assert release_checks(slow)["latency_ms"].passed is False
    assert release_checks(slow)["win_rate"].passed is False
    critic = replace(card(target="mage/movement_ppo"), measured={})
    assert release_checks(critic)["explained_variance"].passed is False
