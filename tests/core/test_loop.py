"""The loop from end to end in one process: what it commits, how it stops, and that a restart changes nothing."""

import errno
import json
import os
import signal

import pytest

from supervisor import loop
from supervisor.contract import Outcome, Reason, Status
from supervisor.execution.room import Admission
from supervisor.journal import durable, requests
from supervisor.journal.checkpoint import CHECKPOINT_NAME
from supervisor.journal.events import EVENTS_NAME
from supervisor.journal.log import LOG_NAME, encode, read_log
from supervisor.journal.requests import Action, Request
from supervisor.registry.active import ActiveFile
from supervisor.signals import Signals
from tests.support.small_run import SmallRun, comparable
from trainers import worker


def lines(run_dir):
    return read_log(run_dir).records


def events(run_dir):
    return [json.loads(line)["event"] for line in (run_dir / EVENTS_NAME).read_text().splitlines()]


def tree(run_dir):
    """Every file that a run leaves behind, with its bytes where they may be compared."""
    found = {}
    for path in sorted(run_dir.rglob("*")):
        name = str(path.relative_to(run_dir))
        if path.is_file() and not name.startswith(("events", "trials", "supervisor.lock")):
            found[name] = (
                path.read_bytes() if name not in (LOG_NAME, CHECKPOINT_NAME, "checkpoint.previous.json") else b""
            )
        elif name.startswith("trials"):
            found[name] = b""
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    run = SmallRun(tmp_path_factory.mktemp("undisturbed") / "run")
    run.run(40)
    return run


def test_the_first_iteration_of_every_target_is_its_default_and_the_first_incumbent(undisturbed):
    first, second = lines(undisturbed.run_dir)[:2]
    for record, target in ((first, "aggressive/noop"), (second, "mage/noop")):
        assert record.target == target
        assert record.purpose == "baseline"
        assert record.params == {"other": 1.0, "skill": 0.3, "whole": 4}
        assert record.games == 50
        assert record.reason is Reason.BASELINE
        assert record.promoted
        assert record.version == f"v{record.iteration:06d}"
        assert record.improvement == 0.0


def test_a_better_configuration_is_promoted_by_the_paired_test(undisturbed):
    promotions = [record for record in lines(undisturbed.run_dir) if record.improvement > 0]
    assert promotions
    for record in promotions:
        assert record.decision.outcome is Outcome.PROMOTE
        assert record.decision.e_value >= 20
        assert record.params["skill"] > 0.3
        assert record.pool.games == 200


def test_every_iteration_says_its_games_per_second_and_duration(undisturbed):
    for record in lines(undisturbed.run_dir):
        assert record.time["duration_s"] >= 0
        assert record.time["games_per_s"] is None or record.time["games_per_s"] > 0


def test_production_is_what_the_log_says(undisturbed):
    active = ActiveFile.read(undisturbed.run_dir)
    for key, entry in active.targets.items():
        last = [record for record in lines(undisturbed.run_dir) if record.target == key and record.promoted][-1]
        assert (entry.version, entry.model_sha256) == (last.version, last.model_sha256)
        assert durable.sha256_file(undisturbed.run_dir / "models" / f"{entry.model_sha256}.onnx") == entry.model_sha256


def test_a_second_run_of_the_same_work_is_the_same_byte_for_byte(undisturbed, tmp_path):
    again = SmallRun(tmp_path / "run")
    again.run(40)
    assert comparable(lines(again.run_dir)) == comparable(lines(undisturbed.run_dir))
    assert tree(again.run_dir) == tree(undisturbed.run_dir)


def test_a_run_in_pieces_is_the_same_byte_for_byte(undisturbed, tmp_path):
    pieces = SmallRun(tmp_path / "run")
    for iterations in (1, 3, 10, 11, 29, 40):
        pieces.run(iterations)
    assert comparable(lines(pieces.run_dir)) == comparable(lines(undisturbed.run_dir))
    assert tree(pieces.run_dir) == tree(undisturbed.run_dir)


class Killed(BaseException):
    """Stands for SIGKILL inside one process: nothing in between may catch it."""


def test_killed_before_any_durable_operation_it_goes_on_as_if_nothing_had_happened(undisturbed, tmp_path, monkeypatch):
    operations = 0

    def count(operation, path):
        nonlocal operations
        operations += 1

    monkeypatch.setattr(durable, "failpoint", count)
    SmallRun(tmp_path / "count").run(6)
    expected = comparable(lines(undisturbed.run_dir)[:6])
    for point in range(1, operations + 1, 9):
        left = point

        def kill(operation, path):
            nonlocal left
            left -= 1
            if left == 0:
                raise Killed

        run = SmallRun(tmp_path / f"killed{point}")
        monkeypatch.setattr(durable, "failpoint", kill)
        with pytest.raises(Killed):
            run.run(6)
        monkeypatch.setattr(durable, "failpoint", None)
        run.run(6)
        assert comparable(lines(run.run_dir)) == expected, f"killed before operation {point}"


def test_with_a_window_the_number_of_workers_does_not_show(tmp_path):
    runs = [SmallRun(tmp_path / str(slots), window=4) for slots in (1, 2, 4)]
    for run, slots in zip(runs, (1, 2, 4), strict=True):
        run.run(30, slots=slots)
    first, *others = [comparable(lines(run.run_dir)) for run in runs]
    assert all(other == first for other in others)


def test_a_window_run_in_pieces_is_the_same(tmp_path):
    whole, pieces = SmallRun(tmp_path / "whole", window=4), SmallRun(tmp_path / "pieces", window=4)
    whole.run(30, slots=2)
    for iterations, slots in ((3, 1), (11, 2), (12, 4), (21, 1), (30, 3)):
        pieces.run(iterations, slots=slots)
    assert comparable(lines(pieces.run_dir)) == comparable(lines(whole.run_dir))


def test_a_signal_saves_and_leaves_and_the_next_start_goes_on(undisturbed, tmp_path):
    run = SmallRun(tmp_path / "run")
    signals = Signals()
    signals.install()
    calls = 0

    def interrupted(folder):
        nonlocal calls
        calls += 1
        if calls == 8:
            os.kill(os.getpid(), signal.SIGTERM)
        return worker.main(folder)

    try:
        state = run.run(40, worker_main=interrupted, signals=signals)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.set_wakeup_fd(-1)
    assert 0 < state.iteration < 40
    assert json.loads((run.run_dir / CHECKPOINT_NAME).read_bytes())["iteration"] == state.iteration
    run.run(40)
    assert comparable(lines(run.run_dir)) == comparable(lines(undisturbed.run_dir))


def test_a_crashing_trial_is_tried_three_times_and_becomes_a_line_with_its_reason(tmp_path):
    calls = []

    def crashing(folder):
        calls.append(folder)
        return worker.main(folder) if folder.endswith(("1", "2")) else 1

    run = SmallRun(tmp_path / "run")
    run.run(3, worker_main=crashing)
    third = lines(run.run_dir)[2]
    assert third.status is Status.FAILED
    assert third.reason is Reason.CRASHED
    assert third.win_rate is None
    assert sum(folder.endswith("3") for folder in calls) == 3


def test_an_out_of_memory_kill_is_out_of_budget_at_once(tmp_path):
    run = SmallRun(tmp_path / "run")
    run.run(3, worker_main=lambda folder: worker.main(folder) if folder.endswith(("1", "2")) else 11)
    third = lines(run.run_dir)[2]
    assert (third.status, third.reason) == (Status.OUT_OF_BUDGET, Reason.OUT_OF_MEMORY)


def ask(run, action, **fields):
    requests.drop(run.run_dir, Request(f"{action.value}-1", 1, action, **fields))


def test_an_enqueued_candidate_is_the_next_iteration_and_judged_like_any_other(tmp_path):
    run = SmallRun(tmp_path / "run")
    run.run(4)
    ask(run, Action.ENQUEUE, target="mage/noop", params={"skill": 0.95})
    run.run(5)
    line = lines(run.run_dir)[4]
    assert (line.target, line.sampler, line.params["skill"]) == ("mage/noop", "enqueued", 0.95)
    assert line.promoted
    assert line.requests == ("enqueue-1",)
    assert not list((run.run_dir / "requests").iterdir())


def test_a_rollback_goes_back_and_the_version_never_comes_again(undisturbed, tmp_path):
    run = SmallRun(tmp_path / "run")
    state = run.run(40)
    key = next(key for key, target in state.targets.items() if target.history)
    before = state.target(key)
    ask(run, Action.ROLLBACK, target=key)
    state = run.run(40, requests_only=True)
    assert state.iteration == 40  # the limit is reached: the request waits
    state = run.run(41, requests_only=True)
    after = state.target(key)
    assert after.incumbent.name == before.history[-1]
    assert after.rolled_back == (before.incumbent.name,)
    assert ActiveFile.read(run.run_dir).targets[key].version == after.incumbent.name
    requests.drop(run.run_dir, Request("again", 2, Action.PROMOTE, target=key, version=before.incumbent.name))
    state = run.run(42)
    assert state.target(key).incumbent.name == after.incumbent.name
    assert lines(run.run_dir)[-1].reason is Reason.ROLLED_BACK


def test_an_unknown_version_is_refused_in_a_line(tmp_path):
    run = SmallRun(tmp_path / "run")
    run.run(2)
    ask(run, Action.PROMOTE, target="mage/noop", version="v000099")
    run.run(3)
    line = lines(run.run_dir)[2]
    assert (line.status, line.reason, line.promoted) == (Status.INVALID, Reason.UNKNOWN_VERSION, False)


def test_an_enqueued_candidate_out_of_its_range_is_refused_in_a_line(tmp_path):
    run = SmallRun(tmp_path / "run")
    run.run(2)
    ask(run, Action.ENQUEUE, target="mage/noop", params={"skill": 1.5})
    run.run(3)
    line = lines(run.run_dir)[2]
    assert (line.status, line.reason, line.win_rate) == (Status.INVALID, Reason.OUT_OF_RANGE, None)
    assert "skill" in line.time["detail"]


def test_a_full_disk_is_waited_out_and_no_line_is_written_twice(undisturbed, tmp_path, monkeypatch):
    run = SmallRun(tmp_path / "run")
    operations = 0

    def full(operation, path):
        nonlocal operations
        operations += 1
        if operations % 20 == 0 and not operation.startswith("fsync") and "trials" not in str(path):
            raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(durable, "failpoint", full)
    monkeypatch.setattr(loop, "FIRST_DISK_PAUSE_S", 0.01)
    run.run(12)
    monkeypatch.setattr(durable, "failpoint", None)
    assert any("disk full" in line for line in run.said)
    assert comparable(lines(run.run_dir)) == comparable(lines(undisturbed.run_dir)[:12])


def test_a_stop_request_ends_the_run_and_is_consumed(tmp_path):
    run = SmallRun(tmp_path / "run")
    run.run(2)
    ask(run, Action.STOP)
    assert run.run(10).iteration == 2
    assert run.run(4).iteration == 4


def test_a_pause_survives_a_restart_until_it_is_resumed(tmp_path):
    run = SmallRun(tmp_path / "run")
    run.run(2)
    ask(run, Action.PAUSE)
    requests.drop(run.run_dir, Request("stop", 5, Action.STOP))
    assert run.run(10).iteration == 2
    requests.drop(run.run_dir, Request("resume", 6, Action.RESUME))
    assert run.run(3).iteration == 3
    assert events(run.run_dir)[-1] == "resumed"


@pytest.mark.parametrize("how", ["truncated", "deleted", "moved", "rotated"])
def test_a_log_changed_while_it_runs_is_an_event_and_the_run_goes_on(undisturbed, tmp_path, how):
    run = SmallRun(tmp_path / "run")
    path = run.run_dir / LOG_NAME

    def meddle(folder):
        if folder.endswith("000014"):
            held = lines(run.run_dir)
            if how == "truncated":
                temporary = path.with_name("recent")
                temporary.write_bytes(b"".join(encode(line) for line in held[-3:]))
                temporary.rename(path)
            elif how == "deleted":
                path.unlink()
            elif how == "moved":
                path.rename(run.run_dir / "training_log.old")
            else:
                path.rename(run.run_dir / "training_log.jsonl.1")
                path.touch()
        return worker.main(folder)

    run.run(20, worker_main=meddle)
    assert "log_rewritten" in events(run.run_dir)
    assert [record.iteration for record in lines(run.run_dir)] == list(range(11, 21))
    assert comparable(lines(run.run_dir)) == comparable(lines(undisturbed.run_dir)[10:20])
    assert read_log(run.run_dir).breaks == ()


def test_lines_that_somebody_removed_are_run_again_even_where_their_folders_are_left(undisturbed, tmp_path):
    run = SmallRun(tmp_path / "run")
    run.run(8)
    held = lines(run.run_dir)
    (run.run_dir / CHECKPOINT_NAME).unlink()
    (run.run_dir / "checkpoint.previous.json").unlink(missing_ok=True)
    (run.run_dir / LOG_NAME).write_bytes(b"".join(encode(line) for line in held[:1]))
    run.run(8)
    assert comparable(lines(run.run_dir)) == comparable(lines(undisturbed.run_dir)[:8])


def test_a_second_rollback_goes_back_one_more(tmp_path):
    run = SmallRun(tmp_path / "run", targets=("mage/noop",))
    run.run(1)
    for iteration, skill in ((2, 0.6), (3, 0.95)):
        requests.drop(run.run_dir, Request(str(iteration), 1, Action.ENQUEUE, "mage/noop", params={"skill": skill}))
        state = run.run(iteration)
    assert state.target("mage/noop").history == ("v000001", "v000002")
    for iteration in (4, 5):
        requests.drop(run.run_dir, Request(str(iteration), 1, Action.ROLLBACK, "mage/noop"))
        state = run.run(iteration)
    assert state.target("mage/noop").incumbent.name == "v000001"


def test_an_enqueued_candidate_waits_for_its_targets_baseline(tmp_path):
    run = SmallRun(tmp_path / "run", targets=("mage/noop",))
    run.run_dir.mkdir()
    ask(run, Action.ENQUEUE, target="mage/noop", params={"skill": 0.9})
    run.run(2)
    assert [record.purpose for record in lines(run.run_dir)] == ["baseline", "enqueued"]


def test_a_rollback_does_not_wait_for_resources(tmp_path):
    run = SmallRun(tmp_path / "run", targets=("mage/noop",))
    state = run.run(12)
    requests.drop(run.run_dir, Request("back", 1, Action.ROLLBACK, target="mage/noop"))
    after = run.run(13, admission=lambda: Admission(False, "nothing is free"))
    assert after.target("mage/noop").incumbent.name == state.target("mage/noop").history[-1]


def test_settings_changed_between_result_and_commit_do_not_judge_the_trial(tmp_path):
    strict, lenient = SmallRun(tmp_path / "strict"), SmallRun(tmp_path / "lenient")
    strict.settings = {"promotion": {"min_improvement": 0.9}}
    strict.run(4)
    lenient.settings = strict.settings

    def stop_after_result(folder):
        code = worker.main(folder)
        if folder.endswith("000004"):
            raise Killed
        return code

    with pytest.raises(Killed):
        lenient.run(4, worker_main=stop_after_result)
    lenient.settings = {"promotion": {"min_improvement": 0.0}}
    lenient.run(4)
    assert comparable(lines(lenient.run_dir)) == comparable(lines(strict.run_dir))


def test_a_trial_begun_under_other_versions_starts_over_once(tmp_path):
    run = SmallRun(tmp_path / "run")
    run.run(2)

    def killed(folder):
        raise Killed

    for _ in range(2):
        with pytest.raises(Killed):
            run.run(3, worker_main=killed, versions={"test": "2"})
    run.run(3, versions={"test": "2"})
    assert not (run.run_dir / EVENTS_NAME).exists()  # proposed under version 2 from the start
    with pytest.raises(Killed):
        run.run(4, worker_main=killed)
    for _ in range(2):
        with pytest.raises(Killed):
            run.run(4, worker_main=killed, versions={"test": "3"})
    assert events(run.run_dir).count("trial_restarted") == 1


def test_a_paired_test_goes_on_under_other_versions_and_the_event_says_so(tmp_path):
    run = SmallRun(tmp_path / "run", targets=("mage/noop",))
    requests.drop(run.run_dir, Request("up", 1, Action.ENQUEUE, "mage/noop", params={"skill": 0.95}))
    undisturbed = SmallRun(tmp_path / "undisturbed", targets=("mage/noop",))
    requests.drop(undisturbed.run_dir, Request("up", 1, Action.ENQUEUE, "mage/noop", params={"skill": 0.95}))
    undisturbed.run(2)

    def killed_in_the_contest(folder):
        if (run.run_dir / folder / "duel.json").exists():
            raise Killed
        return worker.main(folder)

    with pytest.raises(Killed):
        run.run(2, worker_main=killed_in_the_contest)
    for _ in range(2):
        with pytest.raises(Killed):
            run.run(2, worker_main=killed_in_the_contest, versions={"test": "2"})
    run.run(2, versions={"test": "2"})
    assert comparable(lines(run.run_dir)) == comparable(lines(undisturbed.run_dir))
    assert [event for event in events(run.run_dir) if event.startswith("trial_")] == ["trial_continued"]
    assert any("its paired test goes on" in line and "test 1 -> 2" in line for line in run.said)


def test_told_to_stop_while_the_disk_is_full_it_leaves_and_goes_on_later(undisturbed, tmp_path, monkeypatch):
    run = SmallRun(tmp_path / "run")
    signals = Signals()

    def full(operation, path):
        if path.name == LOG_NAME and operation == "open_append" and len(lines(run.run_dir)) == 3:
            signals.stop_asked = True
            raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(durable, "failpoint", full)
    run.run(6, signals=signals)
    monkeypatch.setattr(durable, "failpoint", None)
    assert len(lines(run.run_dir)) == 3
    run.run(6)
    assert comparable(lines(run.run_dir)) == comparable(lines(undisturbed.run_dir)[:6])


def test_a_rollback_asked_before_another_promotion_does_not_take_that_one_back(tmp_path):
    run = SmallRun(tmp_path / "run", targets=("mage/noop",))
    run.run(1)
    for iteration, skill in ((2, 0.6), (3, 0.95)):
        requests.drop(run.run_dir, Request(str(iteration), 1, Action.ENQUEUE, "mage/noop", params={"skill": skill}))
        run.run(iteration)
    requests.drop(run.run_dir, Request("late", 1, Action.ROLLBACK, "mage/noop", seen="v000002"))
    state = run.run(4)
    assert state.target("mage/noop").incumbent.name == "v000003"
    assert lines(run.run_dir)[-1].reason is Reason.INCUMBENT_GONE


def test_a_version_that_comes_back_brings_its_measured_rate(tmp_path):
    run = SmallRun(tmp_path / "run", targets=("mage/noop",))
    before = run.run(1).target("mage/noop").pool
    requests.drop(run.run_dir, Request("up", 1, Action.ENQUEUE, "mage/noop", params={"skill": 0.95}))
    run.run(2)
    requests.drop(run.run_dir, Request("back", 1, Action.ROLLBACK, "mage/noop"))
    assert run.run(3).target("mage/noop").pool == before


@pytest.mark.parametrize("window", [1, 4])
def test_a_start_for_requests_alone_carries_out_the_promotion_or_rollback_and_leaves_the_rest(tmp_path, window):
    run = SmallRun(tmp_path / "run", targets=("mage/noop",), window=window)
    requests.drop(run.run_dir, Request("up", 1, Action.ENQUEUE, "mage/noop", params={"skill": 0.95}))
    state = run.run(6)
    assert state.target("mage/noop").history
    requests.drop(run.run_dir, Request("later", 1, Action.ENQUEUE, "mage/noop", params={"skill": 0.6}))
    requests.drop(run.run_dir, Request("back", 2, Action.ROLLBACK, "mage/noop"))
    run.run(100, requests_only=True, worker_main=lambda folder: pytest.fail(f"{folder} was run"))
    assert [record.reason for record in lines(run.run_dir)[6:]] == [Reason.MANUAL_ROLLBACK]
    [waiting], _ = requests.waiting(run.run_dir)
    assert waiting.id == "later"
    run.run(8)
    assert lines(run.run_dir)[7].sampler == "enqueued"


def test_a_start_for_requests_alone_finishes_what_was_in_flight_and_begins_nothing_new(tmp_path):
    run = SmallRun(tmp_path / "run", targets=("mage/noop",), window=4)
    requests.drop(run.run_dir, Request("up", 1, Action.ENQUEUE, "mage/noop", params={"skill": 0.95}))
    run.run(6)

    def killed(folder):
        raise Killed

    with pytest.raises(Killed):
        run.run(20, slots=2, worker_main=killed)
    in_flight = len([path for path in (run.run_dir / "trials").iterdir() if int(path.name) > 6])
    requests.drop(run.run_dir, Request("back", 2, Action.ROLLBACK, "mage/noop"))
    state = run.run(100, requests_only=True)
    assert state.iteration == 6 + in_flight + 1
    assert lines(run.run_dir)[-1].reason is Reason.MANUAL_ROLLBACK
