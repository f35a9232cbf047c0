"""Files that somebody or a disk has damaged: what is made again, what is told, and that nothing wrong is believed."""

import errno
import json
import shutil
from dataclasses import replace

import pytest

from supervisor import loop
from supervisor.contract import Reason, Status, as_json
from supervisor.errors import DamagedStateError, TryAgainError
from supervisor.journal import durable, requests
from supervisor.journal.events import EVENTS_NAME
from supervisor.journal.log import LOG_NAME, encode, read_log
from supervisor.journal.recovery import known_incumbents, known_versions
from supervisor.journal.requests import Action, Request
from supervisor.journal.trial_folder import TrialFolder
from supervisor.registry import store
from supervisor.registry.active import ActiveFile
from tests.support.small_run import SmallRun, comparable
from trainers import worker

ENQUEUED = Request("enqueue-1", 1, Action.ENQUEUE, "mage/noop", params={"skill": 0.9})


class Killed(BaseException):
    """Stands for SIGKILL inside one process."""


def started(place):
    """Four iterations and an enqueued candidate."""
    run = SmallRun(place / "run")
    run.run(4)
    requests.drop(run.run_dir, ENQUEUED)
    return run


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    run = started(tmp_path_factory.mktemp("undisturbed"))
    run.run(7)
    return comparable(read_log(run.run_dir).records)


@pytest.fixture
def in_flight(tmp_path):
    """Killed while it commits the enqueued candidate, which has earned a contest."""
    run = started(tmp_path)

    def die(operation, path):
        if operation == "open_append" and path.name == "training_log.jsonl":
            raise Killed

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(durable, "failpoint", die)
        with pytest.raises(Killed):
            run.run(7)
    return run


def events(run):
    path = run.run_dir / EVENTS_NAME
    return [json.loads(line)["event"] for line in path.read_bytes().splitlines()] if path.exists() else []


def change(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


NAMES = ("trial.json", "result.json", "duel.json", "duel_result.json", "facts.jsonl", "model.onnx", "final.pt")


@pytest.mark.parametrize(("name", "how"), [*((name, "changed") for name in NAMES), ("trial.json", "gone")])
def test_what_is_damaged_of_a_trial_in_flight_is_made_again_as_it_was(in_flight, undisturbed, name, how):
    path = in_flight.run_dir / "trials" / "000005" / name
    if how == "changed":
        change(path)
    else:
        path.unlink()
    in_flight.run(7)
    assert comparable(read_log(in_flight.run_dir).records) == undisturbed
    assert "trial_damaged" in events(in_flight)


def test_a_consumed_request_whose_target_is_not_searched_now_waits_again(in_flight):
    change(in_flight.run_dir / "trials" / "000005" / "trial.json")
    SmallRun(in_flight.run_dir, targets=("aggressive/noop",)).run(5)
    assert [request.id for request in requests.waiting(in_flight.run_dir)[0]] == [ENQUEUED.id]


def dies(folder):
    raise Killed


def test_what_was_asked_for_is_carried_out_again_where_its_lines_were_removed(tmp_path):
    run = SmallRun(tmp_path / "run", targets=("mage/noop",))
    requests.drop(run.run_dir, Request("up", 1, Action.ENQUEUE, "mage/noop", params={"skill": 0.95}))
    run.run(2)
    requests.drop(run.run_dir, Request("back", 2, Action.ROLLBACK, "mage/noop"))
    run.run(4)
    held = read_log(run.run_dir).records
    for path in run.run_dir.glob("checkpoint*.json"):
        path.unlink()
    (run.run_dir / LOG_NAME).write_bytes(encode(held[0]))
    with pytest.raises(Killed):
        run.run(4, worker_main=dies)
    run.run(4)
    records = read_log(run.run_dir).records
    assert [record.sampler for record in records[:3]] == ["baseline", "enqueued", "manual"]
    assert comparable(records) == comparable(held)
    assert events(run).count("request_again") == 2


def test_what_was_asked_for_is_carried_out_where_a_trial_before_it_is_missing(tmp_path):
    run = SmallRun(tmp_path / "run", targets=("mage/noop",), window=4)
    run.run(4)
    with pytest.raises(Killed):
        run.run(7, worker_main=dies)
    requests.drop(run.run_dir, Request("up", 1, Action.ENQUEUE, "mage/noop", params={"skill": 0.95}))
    with pytest.raises(Killed):
        run.run(7, slots=2, worker_main=dies)
    assert TrialFolder.of(run.run_dir, 6).spec().purpose == "enqueued"
    shutil.rmtree(TrialFolder.of(run.run_dir, 5).path)
    run.run(7)
    assert [record.sampler for record in read_log(run.run_dir).records].count("enqueued") == 1


def test_what_was_asked_of_another_run_is_not_carried_out_in_this_one(tmp_path):
    run = SmallRun(tmp_path / "run", targets=("mage/noop",))
    run.run(2)
    folder = TrialFolder.of(run.run_dir, 2)
    folder.add_fact("request", **as_json(ENQUEUED))
    spec = replace(folder.spec(), run_id="another")
    folder.path.rename(folder.path.with_name("000005"))
    TrialFolder.of(run.run_dir, 5).keep(spec)
    run.run(6)
    assert "enqueued" not in [record.sampler for record in read_log(run.run_dir).records]


@pytest.mark.parametrize("name", ["trial.json", "duel.json", "games.jsonl"])
def test_what_is_damaged_while_a_trial_runs_costs_no_iteration(tmp_path, undisturbed, name):
    run = started(tmp_path)
    left = ["once"]

    def damaging(folder):
        path = run.run_dir / folder / name
        if path.exists() and left and (path.parent.name == "000005"):
            left.clear()
            change(path)
        return worker.main(folder)

    for _ in range(3):
        try:
            run.run(7, worker_main=damaging)
        except TryAgainError as error:
            assert name in str(error)  # noqa: PT017 - the next start must come to the end
        else:
            break
    assert not left
    assert comparable(read_log(run.run_dir).records) == undisturbed


@pytest.mark.parametrize("name", ["result.json", "duel_result.json"])
def test_a_result_removed_before_its_turn_is_made_again(tmp_path, undisturbed, name):
    run = started(tmp_path)
    left = ["once"]

    def removing(folder):
        code = worker.main(folder)
        path = run.run_dir / folder
        if left and (path / "duel_result.json").exists():
            left.clear()
            (path / name).unlink()
        return code

    for _ in range(2):
        try:
            run.run(7, worker_main=removing)
        except TryAgainError as error:
            assert "a result is missing; start again" in str(error)  # noqa: PT017 - the next start must come to the end
        else:
            break
    assert not left
    assert comparable(read_log(run.run_dir).records) == undisturbed


@pytest.mark.parametrize("target", ["mage/noop", "aggressive/noop"])  # of the next trial, and of one after it
@pytest.mark.parametrize(("suffix", "how"), [(".onnx", "changed"), (".pt", "gone")])
def test_a_damaged_model_in_production_is_told_and_nothing_is_made_from_it(tmp_path, undisturbed, target, suffix, how):
    run = started(tmp_path)
    path, version = file_in_production(run, suffix, target)
    whole = path.read_bytes()
    change(path) if how == "changed" else path.unlink()
    with pytest.raises(DamagedStateError, match=rf"{path.name}: .*{version} of {target}.*Put a copy of it back"):
        run.run(7)
    assert len(read_log(run.run_dir).records) == 4
    path.write_bytes(whole)
    again = SmallRun(run.run_dir)
    again.run(7)
    assert comparable(read_log(run.run_dir).records) == undisturbed


def file_in_production(run, suffix, target="mage/noop"):
    entry = ActiveFile.read(run.run_dir).targets[target]
    sha256 = entry.model_sha256 if suffix == ".onnx" else entry.weights_sha256
    return run.run_dir / "models" / f"{sha256}{suffix}", entry.version


def cannot_be_read(path, flags=0):
    raise OSError(errno.EIO, "Input/output error", str(path))


def test_a_model_that_cannot_be_read_just_now_is_not_damaged(tmp_path, undisturbed, monkeypatch):
    run = started(tmp_path)
    with monkeypatch.context() as failing:
        failing.setattr(store, "_regular", cannot_be_read)
        with pytest.raises(TryAgainError, match="does not mean that it is damaged"):
            run.run(7)
    SmallRun(run.run_dir).run(7)
    assert comparable(read_log(run.run_dir).records) == undisturbed


def test_a_rollback_to_a_model_that_cannot_be_read_just_now_is_not_refused(tmp_path, monkeypatch):
    run = SmallRun(tmp_path / "run", targets=("mage/noop",))
    run.run(6)
    earlier, now = [record.version for record in read_log(run.run_dir).records if record.version][-2:]
    file = known_versions(run.run_dir)["mage/noop"][earlier].model_sha256
    requests.drop(run.run_dir, Request("back", 1, Action.ROLLBACK, "mage/noop"))
    whole = store._regular
    with monkeypatch.context() as failing:
        failing.setattr(
            store, "_regular", lambda path, flags: (cannot_be_read if path.stem == file else whole)(path, flags)
        )
        with pytest.raises(TryAgainError, match="does not mean that it is damaged"):
            run.run(7)
    assert len(read_log(run.run_dir).records) == 6
    SmallRun(run.run_dir, targets=("mage/noop",)).run(7)
    last = read_log(run.run_dir).records[-1]
    assert (last.reason, last.rollbacks) == (Reason.MANUAL_ROLLBACK, (now,))


def test_a_model_damaged_while_the_run_works_ends_it_before_the_next_trial_reads_it(tmp_path):
    run = SmallRun(tmp_path / "run")
    run.run(4)

    def damaging(folder):
        code = worker.main(folder)
        file_in_production(run, ".onnx")[0].unlink(missing_ok=True)
        return code

    with pytest.raises(DamagedStateError, match="is missing"):
        run.run(8, worker_main=damaging)
    records = read_log(run.run_dir).records
    assert all(record.status is Status.COMPLETE for record in records)
    assert not any(record.reason is Reason.UNKNOWN_VERSION for record in records)


def test_a_trial_that_finds_its_version_damaged_makes_no_line(tmp_path, undisturbed):
    """Between the supervisor's look and the trial's own."""
    run = started(tmp_path)
    path, _ = file_in_production(run, ".onnx")
    whole = path.read_bytes()

    def finding(folder):
        path.unlink(missing_ok=True)
        spec = worker._read(run.run_dir / folder / "trial.json", worker.TrialSpec)
        worker._write(
            run.run_dir / folder / "result.json",
            worker.failed(spec, worker.TrialError(Reason.UNKNOWN_VERSION, "not the file it was")),
        )
        return worker.EXIT_DONE

    with pytest.raises(DamagedStateError, match="is missing"):
        run.run(7, worker_main=finding)
    path.write_bytes(whole)
    SmallRun(run.run_dir).run(7)
    assert comparable(read_log(run.run_dir).records) == undisturbed


@pytest.mark.parametrize("waiting", ["nothing", "a trial"])
def test_incumbent_rollback_is_a_way_out_of_a_damaged_model(tmp_path, waiting):
    run = SmallRun(tmp_path / "run")
    run.run(4)
    if waiting == "a trial":
        with pytest.raises(Killed):
            run.run(8, worker_main=dies)
    target = "mage/noop" if waiting == "nothing" else TrialFolder.of(run.run_dir, 5).spec().target
    version = known_incumbents(run.run_dir)[target].name
    file_in_production(run, ".onnx", target)[0].unlink()
    again = SmallRun(run.run_dir)
    with pytest.raises(DamagedStateError, match=f"incumbent rollback {target}"):
        again.run(8)
    requests.drop(run.run_dir, Request("back", 1, Action.ROLLBACK, target))
    SmallRun(run.run_dir).run(8, requests_only=True)
    SmallRun(run.run_dir).run(8)
    records = read_log(run.run_dir).records
    assert len(records) == 8
    assert sum(record.status is Status.INVALID for record in records) <= 1
    assert [record.rollbacks for record in records if record.rollbacks] == [(version,)]


def test_without_an_earlier_version_no_way_back_is_named(tmp_path):
    run = SmallRun(tmp_path / "run", targets=("mage/noop",))
    run.run(1)
    file_in_production(run, ".pt")[0].unlink()
    with pytest.raises(DamagedStateError, match=r"Put a copy of it back$"):
        run.run(2)


def test_a_damaged_request_is_ignored_and_named(tmp_path):
    run = started(tmp_path)
    path = run.run_dir / "requests" / "enqueue-1.json"
    path.write_bytes(path.read_bytes().replace(b"0.9", b"0.8"))
    run.run(5)
    assert "request_ignored" in events(run)
    assert read_log(run.run_dir).records[-1].purpose == "search"
    assert path.exists()


def test_a_trial_that_finds_no_room_goes_on_once_there_is_some(tmp_path, undisturbed, monkeypatch):
    run = started(tmp_path)
    refused = []

    def full(operation, path):
        in_trial = path.name in ("games.jsonl", ".result.json.tmp", ".built.json.tmp", ".model.onnx.tmp")
        if in_trial and len(refused) < 8 and not operation.startswith("fsync"):
            refused.append(path.name)
            raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(durable, "failpoint", full)
    monkeypatch.setattr(loop, "FIRST_DISK_PAUSE_S", 0.001)
    monkeypatch.setattr(loop, "IDLE_WAIT_S", 0.001)
    run.run(7)
    assert len(refused) == 8
    assert sum("disk full: iteration 5" in line for line in run.said) == 8
    assert comparable(read_log(run.run_dir).records) == undisturbed


def test_a_trial_that_no_process_can_be_made_for_rests_and_goes_on_with_no_attempt_counted(
    tmp_path, undisturbed, monkeypatch
):
    run = started(tmp_path)
    refused = []

    def short(folder):
        if len(refused) < 8:
            refused.append(folder)
            return worker.EXIT_REFUSED
        return worker.main(folder)

    monkeypatch.setattr(loop, "FIRST_DISK_PAUSE_S", 0.001)
    monkeypatch.setattr(loop, "IDLE_WAIT_S", 0.001)
    run.run(7, worker_main=short)
    assert sum("no process can be made: iteration 5" in line for line in run.said) == len(refused) == 8
    assert read_log(run.run_dir).records[4].time["attempts"] == 1
    assert comparable(read_log(run.run_dir).records) == undisturbed


def test_a_disk_that_is_full_when_the_run_starts_is_waited_for(tmp_path, undisturbed, monkeypatch):
    run = started(tmp_path)
    (run.run_dir / "config.yaml").unlink()
    refused = []

    def full(operation, path):
        if "config.yaml" in path.name and len(refused) < 3:
            refused.append(operation)
            raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(durable, "failpoint", full)
    monkeypatch.setattr(loop, "FIRST_DISK_PAUSE_S", 0.001)
    run.run(7)
    assert len(refused) == 3
    assert (run.run_dir / "config.yaml").exists()
    assert comparable(read_log(run.run_dir).records) == undisturbed
