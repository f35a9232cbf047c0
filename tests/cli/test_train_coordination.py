"""`incumbent train-coordination`: packs of two to five, trained, measured, written."""

from __future__ import annotations

import json

import pytest

from supervisor.commands.coordination import PACKS, TURNS
from supervisor.journal import durable
from tests.support.command_line import call
from trainers.arena.packs.rules import LARGEST_PACK, ORDER_TICKS, TICK_LIMIT

pytestmark = pytest.mark.usefixtures("inline_jobs")


def test_the_figures_of_a_fight_are_the_arenas():
    assert (TURNS, PACKS[-1]) == (TICK_LIMIT // ORDER_TICKS, LARGEST_PACK)


def test_a_pack_of_three_is_trained_measured_and_written(tmp_path):
    flags = ("--pack-size", "3", "--episodes", "150", "--games", "100", "--output", str(tmp_path / "pack"))
    answer = call("train-coordination", "--run-dir", str(tmp_path / "none"), "--archetype", "aggressive", *flags)
    assert answer.code == 0, answer.err
    assert "a pack of 3, over 100 fights" in answer.out
    report = json.loads((tmp_path / "pack" / "report.json").read_text())
    assert 0.8 * 150 * TURNS * 3 < report["orders"] <= 150 * TURNS * 3  # whole rollouts
    assert report["gain_low"] <= report["gain"] == pytest.approx(report["trained"] - report["untrained"])
    assert report["model_sha256"] == durable.sha256_file(tmp_path / "pack" / "model.onnx")
    assert (tmp_path / "pack" / "final.pt").is_file()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--archetype", "aggressive", "--pack-size", "6"), "2 to 5 members"),
        (("--archetype", "bard"), "'bard': no such name"),
        ((), "--archetype"),
    ],
)
def test_what_does_not_exist_is_refused(tmp_path, flags, said):
    answer = call("train-coordination", "--run-dir", str(tmp_path / "none"), *flags)
    assert answer.code == 2
    assert said in answer.err
    assert not (tmp_path / "none").exists()
