"""`incumbent profile`: the parts of a training's time, and that watching leaves nothing behind."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from tests.support.command_line import call
from trainers.arena.arena import Arena
from trainers.jobs import profile
from trainers.jobs.profile import ENVIRONMENT, FORWARD, PARTS, REPLAY, REST, Stopwatch

pytestmark = pytest.mark.usefixtures("inline_jobs")


def test_a_part_inside_another_stops_that_ones_clock(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(profile.time, "perf_counter", lambda: next(clock))
    watch = Stopwatch()
    inner = watch.around(ENVIRONMENT, lambda: None)
    outer = watch.around(REPLAY, inner)
    watch.start()  # 1; outer begins at 2, inner at 3, and each ends a second later
    outer()
    watch.stop()
    assert {part: s for part, s in watch.seconds.items() if s} == {ENVIRONMENT: 1, REPLAY: 2, REST: 2}


def test_watched_methods_are_themselves_again():
    names = [(Arena, "play"), (Arena, "observation"), (nn.Module, "__call__"), (torch.Tensor, "backward")]
    before = [vars(owner).get(name) for owner, name in names]
    watch = Stopwatch()
    with profile._watched(watch):
        assert vars(Arena)["play"] is not before[0]
        nn.Linear(2, 2)(torch.zeros(1, 2)).sum().backward()
    assert [vars(owner).get(name) for owner, name in names] == before
    assert watch.seconds[FORWARD] > 0


@pytest.mark.parametrize(
    ("model_type", "seconds"), [("combat_dqn", "3"), pytest.param("movement_ppo", "8", marks=pytest.mark.slow)]
)
def test_the_parts_add_up_to_the_time_and_each_that_must_be_there_is(tmp_path, model_type, seconds):
    answer = call("profile", "--run-dir", str(tmp_path), "--model-type", model_type, "--seconds", seconds, "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert set(found["parts"]) == set(PARTS)
    assert sum(found["parts"].values()) == pytest.approx(found["wall_s"], rel=0.1)
    assert all(found["parts"][part] > 0 for part in (ENVIRONMENT, "action choice", FORWARD, "backward", "optimizer"))
    assert found["parts"][REST] < 0.5 * found["wall_s"]
    assert 0 < found["outside_kernels"] < 1
    assert found["steps_per_s"] > 0


def test_for_people_it_is_a_table(tmp_path):
    answer = call("profile", "--run-dir", str(tmp_path), "--seconds", "1", "--archetype", "mage")
    lines = answer.out.splitlines()
    assert lines[0].startswith("mage/combat_dqn")
    assert lines[1].split()[:3] == ["part", "share", "seconds"]
    assert "steps/s, " in lines[-1]


@pytest.mark.parametrize("flags", [("--model-type", "combat_dqm"), ("--archetype", "bard"), ("--seconds", "0")])
def test_what_does_not_exist_is_refused(tmp_path, flags):
    assert call("profile", "--run-dir", str(tmp_path), *flags).code == 2
