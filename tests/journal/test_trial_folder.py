"""A trial's folder: facts survive a killed writer, no changed file is believed, and what is forgotten is exactly what
an unfinished build saved."""

from contextlib import suppress
from dataclasses import replace

import pytest

from supervisor import contract
from supervisor.contract import DuelResult, DuelSpec, Reason, Status, TrialResult, Version, as_json
from supervisor.errors import TryAgainError
from supervisor.journal import durable, sealed
from supervisor.journal.trial_folder import GROUP_NAME, RESUME_NAMES, TrialFolder
from trainers import build_stage, group, ledger, weights
from trainers.single import single_spec


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
def test_a_complete_line_that_is_no_fact_does_not_count(folder, line):
    folder.add_fact("exit", code=1)
    with (folder.path / "facts.jsonl").open("ab") as stream:
        stream.write(line + b"\n")
    folder.add_fact("exit", code=2)
    assert [fact["code"] for fact in folder.facts()] == [1, 2]


def test_the_request_that_a_proposal_answers_is_a_fact_of_its_own_and_stands_there_once(folder):
    request = {"fact": "request", "id": "a", "params": {"skill": 0.9}}
    spec = replace(single_spec("aggressive/noop", 1, {}, 1, 0), facts=(request,))
    folder.create(spec)
    folder.create(spec)  # tried again after a full disk
    assert folder.facts() == [request]
    assert folder.spec() == spec


def test_a_proposal_that_somebody_changed_is_written_again_for_the_trial(folder):
    spec = single_spec("aggressive/noop", 1, {"skill": 0.5}, 1, 0)
    folder.create(spec)
    path = folder.path / "trial.json"
    written = path.read_bytes()
    for damage in (written.replace(b"0.5", b"0.6"), b"", None):
        path.unlink() if damage is None else path.write_bytes(damage)
        folder.keep(spec)
        assert path.read_bytes() == written


@pytest.mark.parametrize("name", ["trial.json", "result.json", "duel.json", "duel_result.json"])
def test_a_file_in_which_anything_was_changed_is_not_believed_and_says_so(folder, name):
    value, read = of_each_kind(folder)[name]
    sealed.write(folder.path / name, as_json(value))
    whole = (folder.path / name).read_bytes()
    assert read() == value
    for position in range(len(whole)):
        for bit in range(8):
            (folder.path / name).write_bytes(flipped(whole, position, bit))
            with suppress(TryAgainError):
                assert read() == value, (position, bit)  # 1e-05 and 1E-05 are the same number
    for length in range(len(whole) - 1):
        (folder.path / name).write_bytes(whole[:length])
        with pytest.raises(TryAgainError, match=name):
            read()


def of_each_kind(folder):
    version = Version("v000001", 1, {"skill": 0.25}, "0" * 64)
    plan = contract.TestPlan()
    return {
        "trial.json": (single_spec("aggressive/noop", 1, {"skill": 1e-05}, 1, 0), folder.spec),
        "result.json": (TrialResult(1, Status.COMPLETE, params={"skill": 0.5}, delta=0.125), folder.result),
        "duel.json": (DuelSpec(1, version, plan, 200), folder.duel),
        "duel_result.json": (DuelResult(1, Status.INVALID, Reason.DROPPED_PAIRS, None, games=20), folder.duel_result),
    }


def flipped(data, position, bit):
    return data[:position] + bytes([data[position] ^ (1 << bit)]) + data[position + 1 :]


def test_a_file_of_an_earlier_version_of_the_program_has_no_checksum_and_is_read(folder):
    for name, (value, read) in of_each_kind(folder).items():
        durable.write_json(folder.path / name, as_json(value))
        assert read() == value
    (folder.path / "facts.jsonl").write_bytes(b'{"code":1,"fact":"exit"}\n')
    assert folder.facts() == [{"fact": "exit", "code": 1}]


def test_what_is_forgotten_is_what_trials_save():
    assert {
        weights.WEIGHTS_NAME,
        weights.PREVIOUS_NAME,
        weights.PROGRESS_NAME,
        build_stage.BUILT_NAME,
        build_stage.MODEL_NAME,
        build_stage.WEIGHTS_NAME,
        ledger.LEDGER_NAME,
        group.TRAINED_NAME,
    } == RESUME_NAMES
    assert group.GROUP_NAME == GROUP_NAME


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
