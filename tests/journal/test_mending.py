"""What is damaged in a trial's folder goes, with all that was made from it, and nothing else does."""

import shutil
from dataclasses import replace

import pytest

from supervisor import contract
from supervisor.contract import DuelResult, DuelSpec, Reason, Status, TrialResult, Version
from supervisor.journal import durable, sealed
from supervisor.journal.mending import mend
from supervisor.journal.trial_folder import TrialFolder
from trainers.single import single_spec

FACT = {"fact": "request", "id": "a"}
MODEL, WEIGHTS = b"model", b"weights"
RESULT = TrialResult(
    1,
    Status.COMPLETE,
    model_sha256=durable.sha256_bytes(MODEL),
    weights_sha256=durable.sha256_bytes(WEIGHTS),
    interface=contract.Interface({}, {}),
)
ALL = ("trial.json", "result.json", "duel.json", "duel_result.json", "games.jsonl", "facts.jsonl", "built.json")
FILES = (*ALL, "model.onnx", "final.pt")


@pytest.fixture
def folder(tmp_path):
    """A trial with everything that a contest leaves."""
    found = TrialFolder.of(tmp_path, 1)
    found.create(replace(single_spec("aggressive/noop", 1, {"skill": 0.5}, 1, 0), facts=(FACT,)))
    found.write_result(RESULT)
    found.write_duel(DuelSpec(1, Version("v000001", 1, {}, "0" * 64), contract.TestPlan(), 10))
    found.write_duel_result(DuelResult(1, Status.INVALID, Reason.DROPPED_PAIRS, None))
    for number in range(3):
        sealed.append_line(found.path / "games.jsonl", {"block": number})
    for name, data in (("model.onnx", MODEL), ("final.pt", WEIGHTS), ("built.json", b"{}")):
        (found.path / name).write_bytes(data)
    return found


def names(folder):
    return {path.name for path in folder.path.iterdir()}


def change(path):
    """One bit, in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_whole_folder_is_left_as_it_is(folder):
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    mended = mend(folder)
    assert (mended.problems, mended.proposal_lost) == ((), False)
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == before


@pytest.mark.parametrize(
    ("damaged", "goes"),
    [
        ("result.json", {"result.json", "duel.json", "duel_result.json"}),
        ("model.onnx", {"result.json", "duel.json", "duel_result.json"}),
        ("final.pt", {"result.json", "duel.json", "duel_result.json"}),
        ("duel.json", {"duel.json", "duel_result.json"}),
        ("duel_result.json", {"duel_result.json"}),
        ("built.json", set()),  # the trial sees to that
    ],
)
@pytest.mark.parametrize("how", ["changed", "a folder"])
def test_with_a_damaged_file_goes_what_was_made_from_it(folder, damaged, goes, how):
    path = folder.path / damaged
    if how == "changed":
        change(path)
    else:
        path.unlink()
        path.mkdir()
        goes = goes | {damaged}
    mended = mend(folder)
    assert not mended.proposal_lost
    assert names(folder) == set(FILES) - goes
    assert len(mended.problems) >= bool(goes)
    assert all(str(folder.path) in problem for problem in mended.problems)
    assert mend(folder).problems == ()


@pytest.mark.parametrize("gone", ["model.onnx", "result.json"])
def test_a_contest_without_what_it_was_played_with_goes(folder, gone):
    (folder.path / gone).unlink()
    mend(folder)
    assert not names(folder) & {"result.json", "duel.json", "duel_result.json"}


@pytest.mark.parametrize("how", ["changed", "cut", "gone"])
def test_without_its_proposal_only_the_facts_are_left(folder, how):
    path = folder.path / "trial.json"
    if how == "changed":
        change(path)
    elif how == "cut":
        path.write_bytes(b"")
    else:
        path.unlink()
    mended = mend(folder)
    assert mended.proposal_lost
    assert names(folder) - {"trial.json"} == {"facts.jsonl"}
    assert folder.facts() == [FACT]


def test_a_folder_whose_proposal_was_never_written_is_no_damage(tmp_path):
    folder = TrialFolder.of(tmp_path, 1)
    folder.path.mkdir(parents=True)
    folder.add_fact("request", id="a")
    (folder.path / ".trial.json.tmp").write_bytes(b"{")
    assert mend(folder) == mend(folder)
    assert (mend(folder).problems, mend(folder).proposal_lost) == ((), False)


def test_of_games_only_the_damaged_lines_go(folder):
    path = folder.path / "games.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b"1", b"7", 1) + lines[2] + b'{"torn')
    (problem,) = mend(folder).problems
    assert problem.startswith(f"{path}: line 2 was damaged")
    assert path.read_bytes() == lines[0] + lines[2]
    assert names(folder) == set(FILES)


def test_behind_a_damaged_fact_an_unfinished_build_starts_from_step_0_and_a_finished_one_stays(folder, tmp_path):
    unfinished = TrialFolder(tmp_path / "trials" / "000002")
    shutil.copytree(folder.path, unfinished.path)
    for name in ("result.json", "duel.json", "duel_result.json"):
        (unfinished.path / name).unlink()
    (unfinished.path / "weights.pt").write_bytes(b"half way")
    for found in (folder, unfinished):
        found.add_fact("versions", versions={"torch": "1"})
        path = found.path / "facts.jsonl"
        path.write_bytes(path.read_bytes().replace(b'"torch":"1"', b'"torch":"2"'))
        assert len(mend(found).problems) == 1
        assert len(found.facts()) == 1
    assert names(folder) == set(FILES)
    assert names(unfinished) == {"trial.json", "facts.jsonl"}


def test_a_result_that_found_a_damaged_version_is_none(folder):
    folder.write_result(TrialResult(1, Status.INVALID, Reason.UNKNOWN_VERSION))
    assert len(mend(folder).problems) == 1
    assert folder.result() is None
