"""What somebody does to study.db while the run writes it, through Optuna itself: nothing of it is ever believed.

Put right at the next start: trials added or finished by somebody, changed values and states, running trials that are
none. Left as they are, since nothing reads them: user attributes, notes, studies of other names.
"""

import contextlib
import sqlite3

import optuna
import pytest
from optuna.trial import TrialState

from supervisor.journal.log import read_log
from supervisor.search.projection import study_db_url
from tests.support.processes import wait_for
from tests.support.small_run import SmallRun, comparable
from trainers import worker

KEY = "mage/noop"
TPE = {"search": {"sampler": "tpe"}}  # the sampler that would learn from a trial too many


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    run = SmallRun(tmp_path_factory.mktemp("undisturbed") / "run", settings=TPE)
    run.run(26)
    return run


@pytest.fixture
def run(tmp_path):
    return SmallRun(tmp_path / "run", settings=TPE, dashboard=True)


def lines(run):
    return read_log(run.run_dir).records


def study(run):
    return optuna.load_study(study_name=KEY, storage=study_db_url(run.run_dir))


def shown(run):
    """Iteration, state and value of every trial of the target."""
    return [(trial.user_attrs.get("iteration"), trial.state, trial.value) for trial in study(run).trials]


def expected(run):
    return [(line.iteration, TrialState.COMPLETE, line.win_rate) for line in lines(run) if line.target == KEY]


def a_better_trial(run):
    best = {"skill": 1.0, "other": 1.0, "whole": 4}
    known = study(run).trials[0].distributions
    study(run).add_trial(optuna.trial.create_trial(value=0.99, params=best, distributions=known))


def a_waiting_trial(run):
    study(run).enqueue_trial({"skill": 1.0})


def another_value(run):
    sql(run, "UPDATE trial_values SET value = 0.99 WHERE trial_id = 2")


def another_state(run):
    sql(run, "UPDATE trials SET state = 'FAIL' WHERE trial_id = 2")


def sql(run, statement):
    with contextlib.closing(sqlite3.connect(run.run_dir / "study.db", timeout=30)) as database, database:
        assert database.execute(statement).rowcount == 1


def an_attribute(run):
    study(run).set_user_attr("verdict", "promote me")
    sql(run, "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (2, 'verdict', '\"best\"')")


def a_study(run):
    optuna.create_study(study_name="mine", storage=study_db_url(run.run_dir)).add_trial(
        optuna.trial.create_trial(value=1.0)
    )


def everything(run):
    for name in ("study.db", "study.db-wal", "study.db-shm"):
        (run.run_dir / name).unlink(missing_ok=True)


PUT_RIGHT = (a_better_trial, a_waiting_trial, another_value, another_state, everything)
LEFT = (an_attribute, a_study)


@pytest.mark.parametrize("what", [*PUT_RIGHT, *LEFT])
def test_whatever_somebody_does_to_the_database_neither_proposals_nor_log_change(run, undisturbed, what):
    done = []

    def work(folder):
        if folder.endswith("000016") and not done:
            wait_for("the database shows the first trials", lambda: len(shown(run)) >= 3)
            what(run)
            done.append(what)
        return worker.main(folder)

    run.run(22, worker_main=work)
    assert done
    if what is everything:  # built anew beside the run, not only by the next start
        assert shown(run) == expected(run)
    run.run(26)
    assert comparable(lines(run)) == comparable(lines(undisturbed))
    assert shown(run) == expected(run)
    if what is an_attribute:
        assert study(run).user_attrs["verdict"] == "promote me"
    if what is a_study:
        assert "mine" in optuna.get_all_study_names(study_db_url(run.run_dir))
