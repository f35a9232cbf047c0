"""A trial's folder: facts survive a killed writer, and what is forgotten is exactly what an unfinished build saved."""

import pytest

from supervisor.errors import DamagedStateError
from supervisor.journal.trial_folder import RESUME_NAMES, TrialFolder
from trainers import build_stage, ledger, weights


@pytest.fixture
def folder(tmp_path):
    found = TrialFolder.of(tmp_path, 1)
    found.path.mkdir(parents=True)
    return found


def put(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")


def test_a_fact_behind_one_that_a_killed_writer_left_unfinished_is_read_back(folder):
    folder.add_fact("exit", code=1)
    with (folder.path / "facts.jsonl").open("ab") as stream:
        stream.write(b'{"fact":"ex')
    assert folder.facts() == [{"fact": "exit", "code": 1}]
    folder.add_fact("exit", code=2)
    assert [fact["code"] for fact in folder.facts()] == [1, 2]


def test_looking_at_facts_changes_nothing(folder):
    (folder.path / "facts.jsonl").write_bytes(b'{"fact":"ex')
    assert folder.facts() == []
    assert (folder.path / "facts.jsonl").read_bytes() == b'{"fact":"ex'


@pytest.mark.parametrize("line", [b"not json", b"[]", b"{}", b"\xff\xfe", b"[" * 100_000])
def test_a_complete_line_that_is_no_fact_is_damage_with_place_and_remedy(folder, line):
    folder.add_fact("exit", code=1)
    with (folder.path / "facts.jsonl").open("ab") as stream:
        stream.write(line + b"\n")
    with pytest.raises(DamagedStateError, match=r"facts\.jsonl:2: .*remove the folder"):
        folder.facts()


def test_what_is_forgotten_is_what_trials_save():
    assert {
        weights.WEIGHTS_NAME,
        weights.PREVIOUS_NAME,
        weights.PROGRESS_NAME,
        build_stage.BUILT_NAME,
        build_stage.MODEL_NAME,
        build_stage.WEIGHTS_NAME,
        ledger.LEDGER_NAME,
    } == RESUME_NAMES


def test_an_unfinished_build_is_forgotten_in_the_folder_and_its_candidates_and_nowhere_deeper(folder):
    theirs = (folder.path / "copy", folder.path / "c0" / "copy", folder.path / "c7", folder.path / "c00")
    ours = (folder.path, folder.path / "c0", folder.path / "c6")
    for path in (*ours, *theirs):
        put(path, RESUME_NAMES)
    put(folder.path, ["trial.json", "facts.jsonl", "stderr.log"])
    folder.forget_resume_point()
    for path in ours:
        assert not RESUME_NAMES & {entry.name for entry in path.iterdir()}
    for path in theirs:
        assert {entry.name for entry in path.iterdir()} == RESUME_NAMES
    assert {entry.name for entry in folder.path.iterdir() if entry.is_file()} == {
        "trial.json",
        "facts.jsonl",
        "stderr.log",
    }


def test_a_finished_build_is_not_forgotten_for_its_contest_is_played_with_it(folder):
    put(folder.path, [*RESUME_NAMES, "result.json"])
    folder.forget_resume_point()
    assert {entry.name for entry in folder.path.iterdir()} == {*RESUME_NAMES, "result.json"}
