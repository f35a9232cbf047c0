"""The run as Optuna studies in a database, for optuna-dashboard. Written only: no decision ever reads it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Set
from functools import partial
from pathlib import Path

import optuna
from optuna.distributions import check_distribution_compatibility
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.study.study import _SYSTEM_ATTR_METRIC_NAMES
from optuna.trial import FrozenTrial, TrialState
from optuna_dashboard import get_note, save_note

from supervisor.contract import TrialSpec
from supervisor.journal.log import MAKES_A_VERSION
from supervisor.journal.log_scan import ITERATION, walk_log
from supervisor.record import Record
from supervisor.search.outcomes import LogOutcomes
from supervisor.search.projected import (
    METRIC,
    WITHOUT_TRIAL,
    finished_trial,
    makes_incumbent,
    note_of,
    params_of,
    running_trial,
    state_of,
    value_of,
    verdict_attrs,
)
from supervisor.search.samplers.distributions import distribution
from supervisor.search.space import Space
from supervisor.search.stored import stored_distributions, stored_trials

STUDY_DB = "study.db"
SQLITE_FILES = (STUDY_DB, f"{STUDY_DB}-wal", f"{STUDY_DB}-shm")
BUSY_TIMEOUT_S = 10.0


class WalConnection(sqlite3.Connection):
    """Readers never block the writer; a power cut may lose the newest trials, which the log brings back."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.execute("PRAGMA journal_mode=WAL")
        self.execute("PRAGMA synchronous=NORMAL")


def study_db_url(run_dir: Path) -> str:
    return f"sqlite:///{(run_dir / STUDY_DB).resolve()}"


class StudyProjection:
    """One study per target; every operation may be done again. Raises what SQLAlchemy and Optuna raise.

    In a database that is not the run folder's own, a study's name ends in the run's.
    """

    def __init__(self, url: str, run_id: str, spaces: Mapping[str, Space], shared: bool = False) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._run_id = run_id
        self._spaces = spaces
        self._suffix = f" @ {run_id}" if shared else ""
        arguments = {"timeout": BUSY_TIMEOUT_S, "factory": WalConnection} if url.startswith("sqlite:") else {}
        self._storage = RDBStorage(url, engine_kwargs={"connect_args": arguments})
        self._studies: dict[str, Study] = {}
        self._running: dict[tuple[str, int], int] = {}  # (target, iteration) -> trial id
        self.upto = 0  # the last iteration that is finished in the database
        self._incumbents: dict[str, Record] = {}
        self._notes: dict[str, str] = {}

    def catch_up(self, run_dir: Path) -> None:
        """Bring the database to what the log says, whatever it held before: less, more, or somebody's edits."""
        log = LogOutcomes.read(run_dir)
        missing: dict[str, set[int]] = {}  # iterations by target
        for target in sorted({*self._spaces, *log.by_target}):
            study_id = self._open(target)._study_id
            found = self._missing(target, study_id, log)
            if found is None:
                self._storage.delete_study(study_id)
                del self._studies[target]
                self._running = {key: trial for key, trial in self._running.items() if key[0] != target}
                self._open(target)
                found = {iteration for iteration, _, _ in log.by_target.get(target, ())}
            missing[target] = found
        wanted = _Wanted({*log.last_of.values()}.union(*missing.values()))
        walk_log(run_dir, partial(self._write, log.last_of, missing), wanted)
        self.upto = log.last

    def running(self, spec: TrialSpec) -> None:
        if spec.iteration <= self.upto:
            return
        trial = running_trial(spec, self._space(spec.target))
        for key in [key for key in self._running if key[1] == spec.iteration]:
            if key[0] == spec.target and self._storage.get_trial(self._running[key]).params == trial.params:
                return
            # of a lesson that was put off, and has another number when it comes back; the next start leaves this out
            self._storage.set_trial_state_values(self._running.pop(key), TrialState.FAIL)
        if spec.purpose not in WITHOUT_TRIAL:
            self._add(spec.target, spec.iteration, trial)

    def finished(self, record: Record) -> None:
        if record.iteration > self.upto:  # lines are committed in order
            self._finished(record)
            self._write_note(record)
            self.upto = record.iteration

    def close(self) -> None:
        self._storage.remove_session()
        self._storage.engine.dispose()

    def _write(self, last_of: Mapping[str, int], missing: Mapping[str, set[int]], records: Iterator[Record]) -> None:
        """May be called again with the same lines, where files of the log were renamed meanwhile."""
        for record in records:
            due = missing.get(record.target, set())
            if makes_incumbent(record):
                self._incumbents[record.target] = record
            if record.iteration in due:
                self._finished(record)
                due.remove(record.iteration)
            if record.iteration == last_of.get(record.target):
                self._write_note(record)

    def _finished(self, record: Record) -> None:
        if makes_incumbent(record):
            self._incumbents[record.target] = record
        if record.purpose in WITHOUT_TRIAL:
            return
        known = self._running.pop((record.target, record.iteration), None)
        if known is None:
            self._add(record.target, record.iteration, finished_trial(record, self._space(record.target)))
        else:
            self._complete(known, record)

    def _add(self, target: str, iteration: int, trial: FrozenTrial) -> None:
        study = self._open(target)
        trial_id = self._storage.create_new_trial(study._study_id, template_trial=trial)
        if not trial.state.is_finished():
            self._running[target, iteration] = trial_id

    def _complete(self, trial_id: int, record: Record) -> None:
        trial = self._storage.get_trial(trial_id)
        if trial.state.is_finished():
            return
        values, known = params_of(record.params, self._space(record.target))
        for name, value in values.items():
            if name not in trial.params:
                internal = known[name].to_internal_repr(value)
                self._storage.set_trial_param(trial_id, name, internal, known[name])
        for name, attr in verdict_attrs(record).items():
            self._storage.set_trial_user_attr(trial_id, name, attr)
        score = value_of(record)
        self._storage.set_trial_state_values(trial_id, state_of(record), None if score is None else [score])

    def _open(self, target: str) -> Study:
        """The target's study."""
        if target not in self._studies:
            study = optuna.create_study(
                study_name=target + self._suffix, storage=self._storage, direction="maximize", load_if_exists=True
            )
            if study.metric_names != [METRIC]:
                # what study.set_metric_names does, without the warning that it is experimental
                self._storage.set_study_system_attr(study._study_id, _SYSTEM_ATTR_METRIC_NAMES, [METRIC])
            self._studies[target] = study
            self._notes[target] = get_note(study)
        return self._studies[target]

    def _missing(self, target: str, study_id: int, log: LogOutcomes) -> set[int] | None:
        """The lines that the study lacks; None where it cannot go on: each of its trials must be this run's, stand
        there once, in order, and say what the log says.

        A shortened log is silent on older trials; beyond its end only trials in flight may stand.
        """
        if not self._compatible(target, study_id):
            return None
        missing: set[int] = set()
        lines = iter(log.by_target.get(target, ()))
        line = next(lines, None)
        before = 0
        for trial in stored_trials(self._storage.engine, study_id, self._run_id):
            if trial.iteration is None or trial.iteration <= before:
                return None
            before = trial.iteration
            while line is not None and line[0] < trial.iteration:
                missing.add(line[0])
                line = next(lines, None)
            if not trial.state.is_finished():
                self._running[target, trial.iteration] = trial.trial_id
            if line is not None and line[0] == trial.iteration:
                if not trial.state.is_finished():
                    missing.add(trial.iteration)
                elif line[1:] != (trial.state, trial.value if trial.state is TrialState.COMPLETE else None):
                    return None
                line = next(lines, None)
            elif not (trial.iteration < log.first if trial.state.is_finished() else trial.iteration > log.last):
                return None
        return missing | ({line[0]} if line is not None else set()) | {rest[0] for rest in lines}

    def _compatible(self, target: str, study_id: int) -> bool:
        """Optuna refuses other choices, or log for linear, under a name that the study knows."""
        kinds = {item.name: distribution(item) for item in self._space(target).parameters}
        for name, known in stored_distributions(self._storage.engine, study_id):
            if name in kinds:
                try:
                    check_distribution_compatibility(known, kinds[name])
                except ValueError:
                    return False
        return True

    def _space(self, target: str) -> Space:
        return self._spaces.get(target, Space())

    def _write_note(self, latest: Record) -> None:
        incumbent = self._incumbents.get(latest.target)
        if incumbent is None:
            return
        study, body = self._open(latest.target), note_of(incumbent, latest)
        if self._notes[latest.target] != body:
            save_note(study, body)
            self._notes[latest.target] = body


class _Wanted:
    """Which lines have to be decoded: those of these iterations, and those that make a version."""

    def __init__(self, iterations: Set[int]) -> None:
        self._iterations = iterations

    def __call__(self, text: bytes) -> bool:
        iteration = ITERATION.search(text)
        return iteration is None or int(iteration[1]) in self._iterations or MAKES_A_VERSION in text
