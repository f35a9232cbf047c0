"""What a lesson that was put off goes on from: the folder aside and the rule alone, without a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.contract import TrialSpec
from supervisor.execution.room import Want
from supervisor.flight import Flight
from supervisor.intake import fact_of
from supervisor.journal.trial_folder import TrialFolder
from supervisor.lesson import CONTINUOUS, Lesson
from supervisor.putting_off import NAME, PutOff
from tests.support.arena_trials import small_spec
from tests.support.store_faults_conformance import Killed

LESSON = Lesson("aggressive/combat_dqn", 1, "0:0", "0:5", "0:9", 4, 5, 64, "v000001", 0, store="here")
SAVED = "weights.pt"


def spec_of(iteration: int, **changes: object) -> TrialSpec:
    given = {"lesson": LESSON, "facts": (fact_of(LESSON),), "device": "cuda", "versions": {"torch": "1"}}
    return replace(small_spec(purpose=CONTINUOUS), iteration=iteration, **{**given, **changes})


@pytest.fixture
def aside(tmp_path: Path) -> TrialFolder:
    """Put off in the midst of a training on a GPU."""
    folder = TrialFolder.of(tmp_path, 3)
    folder.create(spec_of(3))
    folder.add_fact("device", device="cuda:1", gpu="GPU-two", name="Card")
    folder.add_fact("exit", kind="store_silent", stage="build", counts=False)
    (folder.path / SAVED).write_bytes(b"saved")
    put_off = PutOff(tmp_path)
    put_off.put(folder)
    return TrialFolder(tmp_path / "trials" / NAME)


def taken_up(run_dir: Path, **changes: object) -> Flight | None:
    put_off, folder = PutOff(run_dir), TrialFolder.of(run_dir, 8)
    fact = put_off.fact(LESSON)
    assert fact is not None
    spec = spec_of(8, facts=(fact,), **changes)
    return Flight.take_up(spec, folder, "now") if put_off.take_up(spec, folder) else None


def test_it_goes_on_on_the_kind_of_gpu_that_it_began_on(aside, tmp_path):
    flight = taken_up(tmp_path)
    assert flight.want == Want("cuda", "Card")
    assert (flight.folder.path / SAVED).read_bytes() == b"saved"
    assert not flight.exits
    assert not aside.path.exists()


def test_killed_while_it_is_taken_up_it_still_knows_its_gpu(aside, tmp_path, monkeypatch):
    def die(self: TrialFolder, spec: TrialSpec) -> None:
        raise Killed

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(TrialFolder, "create", die)
        with pytest.raises(Killed):
            taken_up(tmp_path)
    assert taken_up(tmp_path).want == Want("cuda", "Card")


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_on_another_kind_of_device_it_begins_anew(aside, tmp_path, device):
    assert taken_up(tmp_path, device=device) is None


def test_under_other_libraries_than_it_was_trained_with_last_it_begins_anew(aside, tmp_path):
    aside.add_fact("versions", versions={"torch": "2"})
    assert taken_up(tmp_path) is None
    assert taken_up(tmp_path, versions={"torch": "2"}).want == Want("cuda", "Card")
