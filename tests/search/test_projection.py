"""The dashboard's database says what the log says, whatever happened to it."""

from __future__ import annotations

import dataclasses
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import optuna
import optuna_dashboard
import pytest
from optuna.trial import FrozenTrial, TrialState

from supervisor.config.settings import SearchSettings, Settings
from supervisor.contract import Budget, Decision, Outcome, Reason, Tally, TrialSpec
from supervisor.errors import UsageError
from supervisor.journal.log import LOG_NAME, encode
from supervisor.record import Record
from supervisor.search.dashboard import read_only_url
from supervisor.search.projection import StudyProjection, study_db_url
from supervisor.search.projector import Projector
from supervisor.search.space import Parameter, Space
from tests.support.lines import TARGET, line, mixed_space

SPACE = mixed_space()
SPACES = {TARGET: SPACE}
BASELINE = Decision("none", Outcome.PROMOTE, Reason.BASELINE)


def lines(count: int) -> list[Record]:
    """A baseline, then searches; every seventh fails."""
    made = [line(i, SPACE.defaults(), None if i % 7 == 0 else 0.3 + 0.01 * i) for i in range(1, count + 1)]
    made[0] = promoted(made[0], "v000001", decision=BASELINE)
    return made


def promoted(record: Record, version: str, **changes: object) -> Record:
    pool = Tally(wins=60, losses=40)
    fields = {"promoted": True, "version": version, "model_sha256": "0" * 64, "pool": pool, "best_win_rate": 0.6}
    return dataclasses.replace(record, **{**fields, **changes})  # type: ignore[arg-type]


def spec(iteration: int, **changes: object) -> TrialSpec:
    made = TrialSpec(
        run_id="run-1",
        iteration=iteration,
        target=TARGET,
        kind="arena",
        purpose="search",
        sampler="spsa",
        params=SPACE.defaults(),
        level=0,
        scale="small",
        budget=Budget(steps=1000, wall_s=60.0, ram_mb=1000),
        games=100,
        seeds={},
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def stored(run_dir: Path, target: str = TARGET) -> list[FrozenTrial]:
    return optuna.load_study(study_name=target, storage=study_db_url(run_dir)).trials


def facts(trials: Sequence[FrozenTrial]) -> list[tuple[int, str, float | None, dict[str, object]]]:
    return [(trial.user_attrs["iteration"], trial.state.name, trial.value, trial.params) for trial in trials]


def expected(records: Sequence[Record]) -> list[tuple[int, str, float | None, dict[str, object]]]:
    return [
        (record.iteration, "FAIL" if record.win_rate is None else "COMPLETE", record.win_rate, dict(record.params))
        for record in records
    ]


class Reports(list[str]):
    """Events, and a way to wait for one."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()

    def __call__(self, event: str, reason: str) -> None:
        assert reason
        with self._changed:
            self.append(event)
            self._changed.notify_all()

    def wait_for(self, event: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: event in self, timeout=60), list(self)


def log(run_dir: Path, records: Sequence[Record]) -> None:
    """Let the log hold these lines."""
    (run_dir / LOG_NAME).write_bytes(b"".join(encode(record) for record in records))


def catch_up(projector: Projector, run_dir: Path, records: Sequence[Record]) -> None:
    log(run_dir, records)
    projector.catch_up()


def commit(projector: Projector, run_dir: Path, record: Record) -> None:
    """As the supervisor does: the line first."""
    with (run_dir / LOG_NAME).open("ab") as stream:
        stream.write(encode(record))
    projector.finished(record)


def opened(run_dir: Path, records: Sequence[Record] = (), spaces: Mapping[str, Space] = SPACES) -> StudyProjection:
    """A database that was brought to what these lines say."""
    log(run_dir, records)
    projection = StudyProjection(study_db_url(run_dir), "run-1", spaces)
    projection.catch_up(run_dir)
    return projection


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., tuple[Projector, Reports]]:
    def started(spaces: dict[str, Space] = SPACES, settings: Settings | None = None) -> tuple[Projector, Reports]:
        reports = Reports()
        return Projector(tmp_path, settings or Settings(), "run-1", reports, spaces), reports

    return started


Start = Callable[..., tuple[Projector, Reports]]


def test_every_line_becomes_a_trial_with_what_people_ask_for(tmp_path: Path, start: Start) -> None:
    projector, reports = start()
    catch_up(projector, tmp_path, [])
    for record in lines(7):
        projector.running(spec(record.iteration))
        commit(projector, tmp_path, record)
    projector.close()
    trials = stored(tmp_path)
    assert facts(trials) == expected(lines(7))
    assert reports == []
    first = trials[0]
    assert first.user_attrs["promoted"] is True
    assert first.user_attrs["version"] == "v000001"
    assert first.user_attrs["reason"] == "below_screen"
    low, high = first.user_attrs["win_rate_ci"]
    assert (low, high) == (pytest.approx(0.2279, abs=1e-3), pytest.approx(0.4063, abs=1e-3))
    assert trials[1].distributions["lr"].log is True  # type: ignore[attr-defined]
    study = optuna.load_study(study_name=TARGET, storage=study_db_url(tmp_path))
    assert study.metric_names == ["win_rate"]
    note = optuna_dashboard.get_note(study)
    assert "v000001" in note
    assert "win rate 50.0 %" in note


def test_a_trial_shows_as_running_until_its_line_is_committed(tmp_path: Path) -> None:
    projection = StudyProjection(study_db_url(tmp_path), "run-1", SPACES)
    projection.running(spec(1))
    projection.running(spec(1))
    assert [trial.state for trial in stored(tmp_path)] == [TrialState.RUNNING]
    projection.finished(lines(1)[0])
    projection.finished(lines(1)[0])
    assert [trial.state for trial in stored(tmp_path)] == [TrialState.COMPLETE]
    projection.close()


@pytest.mark.parametrize("target", [TARGET, "tank/combat_dqn"])
def test_a_number_that_became_another_trials_shows_that_one(tmp_path: Path, target: str) -> None:
    projection = StudyProjection(study_db_url(tmp_path), "run-1", {TARGET: SPACE, target: SPACE})
    projection.running(spec(1, purpose="continuous"))
    other = {**SPACE.defaults(), "lr": 0.002}
    projection.running(spec(1, target=target, params=other))
    record = dataclasses.replace(lines(1)[0], target=target, archetype=target.split("/", maxsplit=1)[0], params=other)
    projection.finished(record)
    assert stored(tmp_path)[0].state is TrialState.FAIL
    assert facts(stored(tmp_path, target)[-1:]) == expected([record])
    projection.close()


def test_a_confirmation_shows_the_parameters_of_its_winner(tmp_path: Path) -> None:
    projection = StudyProjection(study_db_url(tmp_path), "run-1", SPACES)
    winner = {**SPACE.defaults(), "lr": 0.002}
    projection.running(spec(1, purpose="confirmation", candidates=(SPACE.defaults(), winner)))
    projection.finished(line(1, winner, 0.6, purpose="confirmation"))
    assert stored(tmp_path)[0].params == winner
    projection.close()


def test_a_restart_writes_what_is_missing_and_nothing_twice(tmp_path: Path, start: Start) -> None:
    for held in (4, 4, 9):
        projector, _ = start()
        catch_up(projector, tmp_path, lines(held))
        projector.close()
        assert facts(stored(tmp_path)) == expected(lines(held))


def test_a_trial_left_running_by_a_crash_is_taken_up_or_taken_away(tmp_path: Path, start: Start) -> None:
    projector, _ = start()
    catch_up(projector, tmp_path, lines(3))
    projector.running(spec(4))
    projector.close()
    projector, _ = start()  # the trial went on and its line was committed
    catch_up(projector, tmp_path, lines(4))
    projector.running(spec(5))
    projector.close()
    assert [trial.state for trial in stored(tmp_path)[3:]] == [TrialState.COMPLETE, TrialState.RUNNING]
    projector, _ = start()  # iteration 5 became another target's
    other = dataclasses.replace(lines(5)[4], target="tank/combat_dqn", archetype="tank")
    catch_up(projector, tmp_path, [*lines(4), other])
    projector.close()
    assert facts(stored(tmp_path)) == expected(lines(4))
    assert facts(stored(tmp_path, "tank/combat_dqn"))[0][0] == 5


def test_what_somebody_wrote_into_the_database_is_written_over(tmp_path: Path, start: Start) -> None:
    projector, _ = start()
    catch_up(projector, tmp_path, lines(5))
    projector.close()
    with sqlite3.connect(tmp_path / "study.db") as database:
        database.execute("UPDATE trial_values SET value = 0.99 WHERE trial_id = 2")
    optuna.load_study(study_name=TARGET, storage=study_db_url(tmp_path)).enqueue_trial({"lr": 1e-4})
    projector, _ = start()
    catch_up(projector, tmp_path, lines(5))
    projector.close()
    assert facts(stored(tmp_path)) == expected(lines(5))


def test_a_shortened_log_leaves_the_older_trials_in_place(tmp_path: Path, start: Start) -> None:
    for held in (lines(9), lines(12)[6:]):
        projector, _ = start()
        catch_up(projector, tmp_path, held)
        projector.close()
    assert facts(stored(tmp_path)) == expected(lines(12))


def test_lines_that_a_power_cut_took_from_the_log_leave_the_database_too(tmp_path: Path, start: Start) -> None:
    for held in (lines(9), lines(6)):
        projector, _ = start()
        catch_up(projector, tmp_path, held)
        projector.running(spec(len(held) + 1))
        commit(projector, tmp_path, lines(10)[len(held)])
        projector.close()
    assert facts(stored(tmp_path)) == expected(lines(7))


def test_a_space_whose_choices_changed_starts_its_study_anew(tmp_path: Path, start: Start) -> None:
    projector, _ = start()
    catch_up(projector, tmp_path, lines(3))
    projector.close()
    kept = [item for item in SPACE.parameters if item.name != "optimizer"]
    changed = Space((*kept, Parameter("optimizer", "categorical", "sgd", choices=("sgd", "lamb"))))
    projector, reports = start({TARGET: changed})
    catch_up(projector, tmp_path, lines(3))
    commit(projector, tmp_path, line(4, changed.defaults(), 0.5))
    projector.close()
    trials = stored(tmp_path)
    assert reports == []
    assert "optimizer" not in trials[0].params
    assert trials[3].params == changed.defaults()


@pytest.mark.parametrize("harm", ["deleted", "replaced by garbage"])
def test_a_database_lost_while_the_run_goes_on_is_built_anew(tmp_path: Path, start: Start, harm: str) -> None:
    projector, reports = start()
    catch_up(projector, tmp_path, lines(5))
    commit(projector, tmp_path, lines(6)[5])
    projector.close()
    projector, reports = start()
    catch_up(projector, tmp_path, lines(6))
    reports.clear()
    commit(projector, tmp_path, lines(7)[6])
    _wait_until(lambda: (tmp_path / "study.db").exists() and len(stored(tmp_path)) == 7)
    path = tmp_path / "study.db"
    path.unlink()
    if harm != "deleted":
        path.with_name("new").write_bytes(b"garbage" * 5000)
        path.with_name("new").rename(path)
    commit(projector, tmp_path, lines(8)[7])
    projector.close()
    assert facts(stored(tmp_path)) == expected(lines(8))
    assert reports == ([] if harm == "deleted" else ["dashboard_failing", "dashboard_written"])


def test_a_damaged_database_found_at_the_start_is_built_anew(tmp_path: Path, start: Start) -> None:
    projector, _ = start()
    catch_up(projector, tmp_path, lines(8))
    projector.close()
    path = tmp_path / "study.db"
    whole = bytearray(path.read_bytes())
    whole[4096:] = bytes(len(whole) - 4096)
    path.write_bytes(whole)
    projector, reports = start()
    catch_up(projector, tmp_path, lines(8))
    projector.close()
    assert facts(stored(tmp_path)) == expected(lines(8))
    assert reports == ["dashboard_failing", "dashboard_written"]


def test_a_database_that_only_its_index_contradicts_is_built_anew(tmp_path: Path, start: Start) -> None:
    """SQLite refuses to write to it, and its quick check finds nothing."""
    projector, _ = start()
    catch_up(projector, tmp_path, lines(5))
    projector.close()
    path = tmp_path / "study.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
        query = "select rootpage from sqlite_master where name = 'sqlite_autoindex_trial_user_attributes_1'"
        page, page_bytes = connection.execute(query).fetchone()[0], connection.execute("pragma page_size").fetchone()[0]
    whole = path.read_bytes()
    begin = (page - 1) * page_bytes
    index = whole[begin : begin + page_bytes].replace(b"iteration", b"iteratiom")
    path.write_bytes(whole[:begin] + index + whole[begin + page_bytes :])
    now = [line(1, SPACE.defaults(), 0.9), *lines(5)[1:]]  # what is there must go, with the entries
    projector, reports = start()
    catch_up(projector, tmp_path, now)
    projector.close()
    assert facts(stored(tmp_path)) == expected(now)
    assert reports == ["dashboard_failing", "dashboard_written"]


def test_what_fails_with_a_new_file_too_is_not_made_anew_again_and_again(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def failing(*arguments: object, **options: object) -> None:
        made.append("made")
        (tmp_path / "study.db").write_bytes(b"")
        raise ValueError("whatever it is")

    monkeypatch.setattr("supervisor.search.projector.StudyProjection", failing)
    removed: list[Path] = []
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: removed.append(path))
    projector, reports = start()
    for count in range(3, 6):
        catch_up(projector, tmp_path, lines(count))
    projector.close()
    assert reports == ["dashboard_failing"]
    assert len(removed) == 3  # the file and SQLite's own two beside it, once
    assert len(made) > len(removed)


def test_a_locked_database_is_reported_once_stops_nobody_and_is_complete_later(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.search.projection.BUSY_TIMEOUT_S", 0.01)
    monkeypatch.setattr("optuna.storages._rdb.storage.time.sleep", lambda seconds: None)
    projector, reports = start()
    catch_up(projector, tmp_path, lines(3))
    projector.close()
    projector, reports = start()
    with sqlite3.connect(tmp_path / "study.db", isolation_level=None) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        catch_up(projector, tmp_path, lines(3))
        commit(projector, tmp_path, lines(4)[3])
        reports.wait_for("dashboard_failing")
        holder.execute("ROLLBACK")
    commit(projector, tmp_path, lines(5)[4])
    projector.close()
    assert facts(stored(tmp_path)) == expected(lines(5))
    assert reports == ["dashboard_failing", "dashboard_written"]


def test_more_than_can_be_written_is_not_gathered_and_comes_from_the_log(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.search.projector.MOST_WAITING", 2)
    projector, _ = start()
    catch_up(projector, tmp_path, [])
    with sqlite3.connect(tmp_path / "study.db", isolation_level=None) as holder:
        _wait_until(lambda: (tmp_path / "study.db").stat().st_size > 0 and len(_tables(tmp_path)) > 0)
        holder.execute("BEGIN EXCLUSIVE")
        for record in lines(9):
            projector.running(spec(record.iteration))
            commit(projector, tmp_path, record)
        assert projector._messages.qsize() <= 2
        holder.execute("ROLLBACK")
    projector.close()
    assert facts(stored(tmp_path)) == expected(lines(9))
    assert projector._running == {}


def test_a_log_that_cannot_be_read_is_no_fault_of_the_database(tmp_path: Path, start: Start) -> None:
    projector, _ = start()
    catch_up(projector, tmp_path, lines(3))
    projector.close()
    inode = (tmp_path / "study.db").stat().st_ino
    (tmp_path / LOG_NAME).write_bytes(b"{}\nno line\n{}\n")
    projector, reports = start()
    projector.catch_up()
    projector.close()
    assert reports == ["dashboard_failing"]
    assert (tmp_path / "study.db").stat().st_ino == inode
    assert facts(stored(tmp_path)) == expected(lines(3))


def test_lines_that_do_not_stand_in_order_are_shown_in_order_and_once(tmp_path: Path) -> None:
    one, two, three, four = lines(4)
    opened(tmp_path, [one, three, four, two, dataclasses.replace(three, win_rate=0.9)]).close()
    changed = [one, two, dataclasses.replace(three, win_rate=0.9), four]
    assert facts(stored(tmp_path)) == expected(changed)
    opened(tmp_path, changed).close()
    assert facts(stored(tmp_path)) == expected(changed)


def test_who_stops_in_a_hurry_does_not_wait_for_a_slow_database(tmp_path: Path, start: Start) -> None:
    projector, reports = start()
    catch_up(projector, tmp_path, lines(3))
    projector.close()
    projector, reports = start()
    with sqlite3.connect(tmp_path / "study.db", isolation_level=None) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        catch_up(projector, tmp_path, lines(4))
        started_s = time.monotonic()
        projector.close(timeout_s=0.1)
        assert time.monotonic() - started_s < 2
        assert reports == ["dashboard_behind"]
        holder.execute("ROLLBACK")
    projector.close()
    assert facts(stored(tmp_path)) == expected(lines(4))


def test_a_database_that_cannot_be_reached_never_shows_its_password(tmp_path: Path, start: Start) -> None:
    url = "postgresql+psycopg://me:hunter2@127.0.0.1:1/none"
    settings = Settings(search=SearchSettings.model_validate({"storage_url": url}))
    said: list[str] = []
    projector, _ = start(settings=settings)
    projector._report = lambda event, reason: said.append(f"{event}: {reason}")
    catch_up(projector, tmp_path, lines(2))
    projector.close()
    assert len(said) == 1
    assert said[0].startswith("dashboard_failing")
    assert "hunter2" not in said[0]


def test_a_shared_database_keeps_runs_apart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    for run_id in ("run-1", "run-2"):
        log(tmp_path, [dataclasses.replace(record, run_id=run_id) for record in lines(3)])
        projection = StudyProjection(url, run_id, SPACES, shared=True)
        projection.catch_up(tmp_path)
        projection.close()
    names = sorted(study.study_name for study in optuna.get_all_study_summaries(url))
    assert names == [f"{TARGET} @ run-1", f"{TARGET} @ run-2"]
    assert len(optuna.load_study(study_name=names[0], storage=url).trials) == 3


def test_studies_are_created_in_order_of_name(tmp_path: Path) -> None:
    projection = opened(tmp_path, spaces=dict.fromkeys(("b/x", "a/y", "a/x"), SPACE))
    projection.close()
    assert optuna.get_all_study_names(study_db_url(tmp_path)) == ["a/x", "a/y", "b/x"]


def test_the_note_names_the_incumbent_of_a_manual_change_too(tmp_path: Path) -> None:
    projection = opened(tmp_path, lines(3))
    decision = Decision("manual", Outcome.PROMOTE, Reason.MANUAL_ROLLBACK)
    back = dataclasses.replace(lines(4)[3], purpose="manual", version="v000000", decision=decision, win_rate=None)
    projection.finished(back)
    study = optuna.load_study(study_name=TARGET, storage=study_db_url(tmp_path))
    assert "v000000" in optuna_dashboard.get_note(study)
    assert len(study.trials) == 3, "nothing ran in a manual iteration"
    projection.close()


def test_it_keeps_up_with_five_iterations_a_second(tmp_path: Path) -> None:
    projection = opened(tmp_path, [])
    started_s = time.process_time()
    for record in lines(8):
        projection.running(spec(record.iteration))
        projection.finished(record)
    used_s = time.process_time() - started_s
    projection.close()
    assert used_s / 8 < 0.2


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.mark.parametrize("writer_runs", [True, False])
def test_the_dashboard_reads_a_running_and_a_finished_run_and_cannot_write(tmp_path: Path, writer_runs: bool) -> None:
    projection = opened(tmp_path, lines(3))
    if not writer_runs:
        projection.close()
    app = optuna_dashboard.wsgi(read_only_url(tmp_path))
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            base = f"http://127.0.0.1:{server.server_port}/api/studies"
            with urllib.request.urlopen(base, timeout=30) as answer:
                assert TARGET.encode() in answer.read()
            removal = urllib.request.Request(f"{base}/1", b"{}", {"Content-Type": "application/json"}, method="DELETE")
            with pytest.raises(urllib.error.HTTPError, match="500"):
                urllib.request.urlopen(removal, timeout=30)
        finally:
            server.shutdown()
            thread.join()
    projection.close()
    assert optuna.get_all_study_names(study_db_url(tmp_path)) == [TARGET]


def test_a_run_without_a_database_has_no_dashboard_yet(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="incumbent run"):
        read_only_url(tmp_path)


def _tables(run_dir: Path) -> list[str]:
    with sqlite3.connect(run_dir / "study.db") as database:
        return [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE name = 'trials'")]


def _wait_until(true: Callable[[], bool]) -> None:
    """The projector tells nobody when it has written, so its file is looked at."""
    deadline_s = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline_s
        threading.Event().wait(0.01)
