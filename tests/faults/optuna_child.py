"""The process that the comparison with plain Optuna kills.

    python -m tests.faults.optuna_child WAY FOLDER TRIALS KILLED

It follows Optuna's documentation on saving and resuming a study; started again in the same folder it goes on as that
tells it to. In trial number KILLED, counted from 0, between the suggestions and the value, it ends by SIGKILL, once.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import optuna
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

SEED = 7
STUDY = "study"
HEARTBEAT_S, GRACE_S = 1, 2
JOURNAL, SAMPLER, STARTED, KILLED = "journal.log", "sampler.pkl", "evaluations.jsonl", "killed"


def sqlite(folder: Path) -> BaseStorage:
    return RDBStorage(f"sqlite:///{folder}/study.db")


def sqlite_with_heartbeat(folder: Path) -> BaseStorage:
    return RDBStorage(
        f"sqlite:///{folder}/study.db",
        heartbeat_interval=HEARTBEAT_S,
        grace_period=GRACE_S,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
    )


def journal(folder: Path) -> BaseStorage:
    return JournalStorage(JournalFileBackend(str(folder / JOURNAL)))


STORAGES: dict[str, Callable[[Path], BaseStorage]] = {
    "sqlite": sqlite,
    "sqlite_pickled": sqlite,
    "sqlite_heartbeat": sqlite_with_heartbeat,
    "journal": journal,
    "journal_torn": journal,
}


class Objective:
    """A deterministic objective of three parameters, as the no-op target's: its value is a hash of them."""

    def __init__(self, folder: Path, killed: int) -> None:
        self._folder = folder
        self._killed = killed

    def __call__(self, trial: Trial) -> float:
        params = {
            "skill": trial.suggest_float("skill", 0.0, 1.0),
            "other": trial.suggest_float("other", 0.1, 10.0, log=True),
            "whole": trial.suggest_int("whole", 1, 9),
        }
        with (self._folder / STARTED).open("a") as stream:
            stream.write(json.dumps({"number": trial.number, "params": params}) + "\n")
        if trial.number == self._killed and not (self._folder / KILLED).exists():
            (self._folder / KILLED).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        noise = int.from_bytes(hashlib.sha256(json.dumps(params, sort_keys=True).encode()).digest()[:4], "big") / 2**32
        return params["skill"] + 0.1 * noise


def sampler_of(way: str, folder: Path) -> BaseSampler:
    """The documentation: a sampler with a seed is pickled and restored, or the resumed study is not reproducible."""
    saved = folder / SAMPLER
    if way == "sqlite_pickled" and saved.exists():
        restored = pickle.loads(saved.read_bytes())
        assert isinstance(restored, BaseSampler)
        return restored
    return TPESampler(seed=SEED)


def save_sampler(study: optuna.Study, trial: FrozenTrial, folder: Path) -> None:
    pending = folder / f".{SAMPLER}"
    pending.write_bytes(pickle.dumps(study.sampler))
    pending.rename(folder / SAMPLER)


def main(way: str, folder: Path, trials: int, killed: int) -> None:
    warnings.simplefilter("ignore")  # heartbeat and journal are experimental
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if way == "sqlite_heartbeat" and (folder / KILLED).exists():
        time.sleep(GRACE_S + 1)  # only then does Optuna take the killed trial for dead
    study = optuna.create_study(
        study_name=STUDY,
        storage=STORAGES[way](folder),
        sampler=sampler_of(way, folder),
        direction="maximize",
        load_if_exists=True,
    )
    done = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    callbacks = [lambda study, trial: save_sampler(study, trial, folder)] if way == "sqlite_pickled" else []
    study.optimize(Objective(folder, killed), n_trials=trials - done, callbacks=callbacks)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
