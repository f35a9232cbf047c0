"""A lesson whose store stays silent: its worker goes to the search, and an event tells of it once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.contract import Status
from supervisor.experience.opening import URL_VARIABLE
from supervisor.experience.outages import Outages
from supervisor.journal import durable
from supervisor.silence import Silence
from tests.support import pupil
from tests.support.lesson_runs import ROWS, of_the_store, parcels, pupils_run, run_until_taught
from tests.support.store_faults_conformance import TOLD_ONCE, Outage, ended_once, hurried, worker_that_begins
from tests.support.store_worlds import SqliteWorld
from trainers import worker

__all__ = ["hurried"]  # a fixture
WINDOW = 8


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqliteWorld]:
    (tmp_path / "play").mkdir()
    made = SqliteWorld(tmp_path / "play")
    store = made.open()
    store.write(parcels())
    store.close()
    monkeypatch.setenv(URL_VARIABLE, made.url)
    return made


def purposes_after_the_first_lesson(run_dir: Path) -> list[str]:
    """Of the trials in flight that have done their work, in the order of their numbers."""
    told = [json.loads(path.read_bytes()) for path in sorted(run_dir.glob("trials/*/trial.json"))]
    first = min((spec["iteration"] for spec in told if spec["lesson"] is not None), default=10**6)
    done = [spec for spec in told if (run_dir / f"trials/{spec['iteration']:06d}/result.json").exists()]
    return [spec["purpose"] for spec in done if spec["iteration"] > first]


def test_while_a_lesson_waits_for_its_store_the_search_has_its_worker_as_far_as_it_may_look_ahead(
    world, tmp_path, monkeypatch
):
    monkeypatch.setattr(pupil, "PATIENCE_S", 0.1)
    run = pupils_run(tmp_path / "run", world.open, search=True, window=WINDOW)
    outage = Outage(world.faults["gone"])
    inner = worker_that_begins(outage, False, monkeypatch)
    codes, beside = [], []

    def main(folder: str) -> int:
        codes.append(inner(folder))
        return codes[-1]

    def window_is_full() -> bool:
        beside[:] = purposes_after_the_first_lesson(run.run_dir)
        return len(beside) == WINDOW - 1

    with ended_once("the window is full", window_is_full, outage):
        run_until_taught(run, main)
    assert beside == ["search"] * (WINDOW - 1)
    taught = [line for line in run.log if line.lesson is not None]
    assert {line.target: line.metrics["new_rows"] for line in taught} == ROWS
    assert {(line.status, line.time["attempts"]) for line in taught} == {(Status.COMPLETE, 1)}
    assert worker.EXIT_STORE_SILENT in codes
    assert of_the_store(run) == TOLD_ONCE


class TestTelling:
    @pytest.fixture
    def told(self):
        return []

    @pytest.fixture
    def silence(self, told):
        return Silence(lambda event, reason: told.append((event, reason)))

    def test_what_two_lessons_meet_is_one_outage(self, silence, told, tmp_path):
        trials = [(7, tmp_path / "7"), (8, tmp_path / "8")]
        for _, folder in trials:
            folder.mkdir()
        silence.listen(trials)
        one, other = (Outages(folder) for _, folder in trials)
        one.silent("no answer")
        other.silent("no answer")
        silence.listen(trials)
        silence.listen(trials)
        one.answers()
        other.answers()
        silence.listen(trials)
        assert [event for event, _ in told] == TOLD_ONCE
        assert "no answer; nothing is lost, and the lesson of iteration 7 goes on" in told[0][1]

    def test_an_outage_that_began_and_ended_between_two_turns_is_told_too(self, silence, told, tmp_path):
        silence.listen([])
        outages = Outages(tmp_path)
        outages.silent("the connection was lost")
        outages.answers()
        outages.answers()
        silence.listen([(7, tmp_path)])
        assert [event for event, _ in told] == TOLD_ONCE
        assert not silence.reigns

    @pytest.mark.parametrize("ended", [False, True])
    def test_another_start_tells_of_an_outage_that_goes_on_and_of_none_that_is_over(
        self, silence, told, tmp_path, ended
    ):
        before = Outages(tmp_path)
        before.silent("no answer")
        if ended:
            before.answers()
        silence.listen([(7, tmp_path)])
        Outages(tmp_path).answers()  # by the process that takes the trial up
        silence.listen([(7, tmp_path)])
        assert [event for event, _ in told] == ([] if ended else TOLD_ONCE)

    def test_a_full_disk_keeps_the_line_out_and_nothing_else(self, tmp_path, monkeypatch):
        def full(operation: str, path: Path) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(durable, "failpoint", full)
        outages = Outages(tmp_path)
        outages.silent("no answer")
        outages.answers()
        assert outages.lines() == ()

    def test_a_damaged_line_is_none(self, tmp_path):
        Outages(tmp_path).silent("no answer")
        with (tmp_path / "outages.jsonl").open("ab") as file:
            file.write(b'{"silent": 7}\nnonsense\n{"silent": "tor')
        again = Outages(tmp_path)
        again.answers()
        assert again.lines() == ("no answer", "")
