"""Where every proposal sees the line before it, a lesson whose store stays silent makes way for the search, and comes
back under another number with its seeds and what it had learnt."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from supervisor import lessons
from supervisor.contract import Status
from supervisor.experience.opening import URL_VARIABLE
from supervisor.journal import durable
from supervisor.putting_off import NAME, PutOff
from tests.support import pupil
from tests.support.lesson_runs import ROWS, of_the_store, parcels, pupils_run, run_until_taught
from tests.support.store_faults_conformance import TOLD_ONCE, Killed, Outage, ended_once, hurried, is_lesson
from tests.support.store_worlds import SqliteWorld
from trainers import worker
from trainers.target import StopRequested

__all__ = ["hurried"]  # a fixture
BESIDE = 7
"""Lines when the outage ends: both targets' first, and the search's."""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SqliteWorld:
    (tmp_path / "play").mkdir()
    made = SqliteWorld(tmp_path / "play")
    store = made.open()
    store.write(parcels())
    store.close()
    monkeypatch.setenv(URL_VARIABLE, made.url)
    monkeypatch.setattr(pupil, "PATIENCE_S", 0.1)
    monkeypatch.setattr(lessons, "RETRY_S", 0.05)
    return made


@dataclass
class Interrupted:
    """The first lesson is asked to leave after two pages, and finds no store when it comes back."""

    outage: Outage
    pages: int = 0
    seeds: list[int] = field(default_factory=list)  # of each lesson's processes

    def main(self, folder: str) -> int:
        if is_lesson(folder):
            self.seeds.append(json.loads((Path(folder) / "trial.json").read_bytes())["seeds"]["train"])
        return worker.main(folder)

    def read_a_page(self, _: pupil.PupilTarget) -> None:
        self.pages += 1
        if self.pages == 2:
            self.outage.begins()
            raise StopRequested


@pytest.fixture
def interrupted(world: SqliteWorld, monkeypatch: pytest.MonkeyPatch) -> Interrupted:
    made = Interrupted(Outage(world.faults["gone"]))
    monkeypatch.setattr(pupil.PupilTarget, "read_a_page", lambda target: made.read_a_page(target))
    return made


def taught(run) -> dict[str, float]:
    """New rows of each lesson that came to an end."""
    lines = [line for line in run.log if line.lesson is not None]
    assert {line.status for line in lines} == {Status.COMPLETE}
    assert len(lines) == len(ROWS)
    return {line.target: line.metrics["new_rows"] for line in lines}


def searching(run_dir: Path, world: SqliteWorld, promotes: bool = False):
    run = pupils_run(run_dir, world.open, search=True)
    if not promotes:
        run.settings["promotion"] = {"min_improvement": 0.9}  # of the search; lessons have a bound of their own
    return run


def test_the_search_goes_on_and_the_lesson_comes_back_to_where_it_was(world, interrupted, tmp_path):
    run = searching(tmp_path / "run", world)
    with ended_once("the search has gone on", lambda: len(run.log) >= BESIDE, interrupted.outage):
        run_until_taught(run, interrupted.main)
    first = next(line for line in run.log if line.lesson is not None)
    assert {line.purpose for line in run.log[len(ROWS) : first.iteration - 1]} == {"search"}
    assert first.iteration > BESIDE
    assert taught(run) == ROWS
    assert interrupted.pages == sum(line.metrics["pages"] for line in run.log if line.lesson is not None)
    assert len(set(interrupted.seeds)) == len(ROWS)
    assert of_the_store(run) == TOLD_ONCE
    assert sum("new experiences for" in said for said in run.said) == 1
    assert not (run.run_dir / "trials" / NAME).exists()


def test_where_the_search_finds_another_incumbent_meanwhile_the_lesson_is_that_ones(world, interrupted, tmp_path):
    run = searching(tmp_path / "run", world, promotes=True)
    with ended_once("the search has gone on", lambda: len(run.log) >= BESIDE, interrupted.outage):
        run_until_taught(run, interrupted.main)
    first = next(line for line in run.log if line.lesson is not None)
    assert (first.lesson.version, first.lesson.cycle) == ("v000005", 2)
    assert taught(run) == ROWS
    assert not (run.run_dir / "trials" / NAME).exists()


POINTS = [1, 3, 6, 9, 12]
OTHERS = [pytest.param(number, marks=pytest.mark.slow) for number in range(1, 14) if number not in POINTS]


@pytest.mark.parametrize("die_at", [*POINTS, *OTHERS])
def test_killed_while_it_is_put_off_or_taken_up_it_is_learnt_once(world, interrupted, tmp_path, monkeypatch, die_at):
    run = searching(tmp_path / "run", world)
    steps, real = 0, durable._step

    def step(*what: object) -> None:
        nonlocal steps
        steps += 1
        if steps == die_at:
            raise Killed
        real(*what)

    def counted(move: Callable[..., object]) -> Callable[..., object]:
        def moved(*given: object) -> object:
            with monkeypatch.context() as meanwhile:
                meanwhile.setattr(durable, "_step", step)
                return move(*given)

        return moved

    for name in ("put", "take_up"):
        monkeypatch.setattr(PutOff, name, counted(getattr(PutOff, name)))
    with ended_once("the search has gone on", lambda: len(run.log) >= BESIDE, interrupted.outage):
        try:
            run_until_taught(run, interrupted.main)
        except Killed:
            run_until_taught(run, interrupted.main)
    assert taught(run) == ROWS
    assert interrupted.pages == sum(line.metrics["pages"] for line in run.log if line.lesson is not None)
    assert len(set(interrupted.seeds)) == len(ROWS)
    assert not (run.run_dir / "trials" / NAME).exists()
