"""The run as Optuna studies in a database, for optuna-dashboard. Written only: no decision ever reads it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.study.study import _SYSTEM_ATTR_METRIC_NAMES
from optuna.trial import FrozenTrial, TrialState
from optuna_dashboard import get_note, save_note

from supervisor.contract import TrialSpec
from supervisor.record import Record
from supervisor.search.projected import (
    ITERATION_KEY,
    METRIC,
    RUN_KEY,
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

STUDY_DB = "study.db"
SQLITE_FILES = (STUDY_DB, f"{STUDY_DB}-wal", f"{STUDY_DB}-shm")
BUSY_TIMEOUT_S = 10.0
WITHOUT_TRIAL = frozenset({"manual"})  # purposes of iterations in which nothing ran


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
        self._trials: dict[tuple[str, int], int] = {}  # (target, iteration) -> trial id
        self._ended: set[int] = set()  # trial ids that need no look into the database
        self._incumbents: dict[str, Record] = {}
        self._notes: dict[str, str] = {}

    def catch_up(self, records: Sequence[Record]) -> None:
        """Bring the database to what the log says, whatever it held before: less, more, or somebody's edits."""
        by_target: dict[str, list[Record]] = {}
        for record in records:
            by_target.setdefault(record.target, []).append(record)
        spoken = (records[0].iteration, records[-1].iteration) if records else (1, 0)
        for target in sorted({*self._spaces, *by_target}):
            lines = by_target.get(target, [])
            self._open(target)
            if not self._agrees(target, lines, spoken):
                self._storage.delete_study(self._studies.pop(target)._study_id)
                self._ended.clear()  # SQLite gives the numbers of removed rows again
                self._trials = {key: trial for key, trial in self._trials.items() if key[0] != target}
                self._open(target)
            for record in lines:
                self._finished(record)
            if lines:
                self._write_note(lines[-1])

    def running(self, spec: TrialSpec) -> None:
        if spec.purpose in WITHOUT_TRIAL or (spec.target, spec.iteration) in self._trials:
            return
        self._add(spec.target, spec.iteration, running_trial(spec, self._space(spec.target)))

    def finished(self, record: Record) -> None:
        self._finished(record)
        self._write_note(record)

    def close(self) -> None:
        self._storage.remove_session()
        self._storage.engine.dispose()

    def _finished(self, record: Record) -> None:
        if makes_incumbent(record):
            self._incumbents[record.target] = record
        if record.purpose in WITHOUT_TRIAL:
            return
        known = self._trials.get((record.target, record.iteration))
        if known is None:
            self._add(record.target, record.iteration, finished_trial(record, self._space(record.target)))
        else:
            self._complete(known, record)

    def _add(self, target: str, iteration: int, trial: FrozenTrial) -> None:
        study = self._open(target)
        trial_id = self._storage.create_new_trial(study._study_id, template_trial=trial)
        self._trials[target, iteration] = trial_id
        if trial.state.is_finished():
            self._ended.add(trial_id)

    def _complete(self, trial_id: int, record: Record) -> None:
        if trial_id in self._ended:
            return
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
        self._ended.add(trial_id)

    def _open(self, target: str) -> Study:
        """The target's study, with the trials of this run that it holds."""
        if target not in self._studies:
            study = optuna.create_study(
                study_name=target + self._suffix, storage=self._storage, direction="maximize", load_if_exists=True
            )
            if study.metric_names != [METRIC]:
                # what study.set_metric_names does, without the warning that it is experimental
                self._storage.set_study_system_attr(study._study_id, _SYSTEM_ATTR_METRIC_NAMES, [METRIC])
            self._studies[target] = study
            self._notes[target] = get_note(study)
            for trial in study.get_trials(deepcopy=False):
                iteration = trial.user_attrs.get(ITERATION_KEY)
                if trial.user_attrs.get(RUN_KEY) == self._run_id and isinstance(iteration, int):
                    self._trials[target, iteration] = trial._trial_id
                    if trial.state.is_finished():
                        self._ended.add(trial._trial_id)
        return self._studies[target]

    def _agrees(self, target: str, records: Sequence[Record], spoken: tuple[int, int]) -> bool:
        """Whether the study can go on: each trial is this run's, stands there once, and says what the log says.

        `spoken` are the first and last iteration the log speaks of: a shortened log is silent on older trials, and
        beyond its end only trials in flight may stand.
        """
        lines = {record.iteration: record for record in records}
        kinds = {item.name: distribution(item) for item in self._space(target).parameters}
        seen = set[int]()
        for trial in self._studies[target].get_trials(deepcopy=False):
            iteration = trial.user_attrs.get(ITERATION_KEY)
            if trial.user_attrs.get(RUN_KEY) != self._run_id or not isinstance(iteration, int) or iteration in seen:
                return False
            seen.add(iteration)
            ended = trial.state.is_finished()
            line = lines.get(iteration)
            if line is not None:
                fits = not ended or _same(trial, line)
            else:
                fits = iteration < spoken[0] if ended else iteration > spoken[1]
            if not fits or not _compatible(trial, kinds):
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


def _compatible(trial: FrozenTrial, kinds: Mapping[str, BaseDistribution]) -> bool:
    """Optuna refuses other choices, or log for linear, under a name that the study knows."""
    for name, known in trial.distributions.items():
        if name in kinds:
            try:
                check_distribution_compatibility(known, kinds[name])
            except ValueError:
                return False
    return True


def _same(trial: FrozenTrial, record: Record) -> bool:
    same_value = (trial.value if trial.state is TrialState.COMPLETE else None) == value_of(record)
    return trial.state is state_of(record) and same_value
