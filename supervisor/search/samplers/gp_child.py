"""The other end of `gp`: answers each question on standard input with one line on standard output."""

from __future__ import annotations

import json
import sys
import warnings

import optuna
from optuna.distributions import json_to_distribution
from optuna.exceptions import ExperimentalWarning

from supervisor.contract import Scalar
from supervisor.search.samplers.make import SEEDS


def answer(question: str) -> dict[str, Scalar]:
    """The parameters that a new GP sampler proposes for the history in the question."""
    body = json.loads(question)
    known = {name: json_to_distribution(text) for name, text in body["distributions"].items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        sampler = optuna.samplers.GPSampler(seed=body["seed"] % SEEDS)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    for trial in body["trials"]:
        study.add_trial(optuna.trial.create_trial(value=trial["value"], params=trial["params"], distributions=known))
    return dict(study.ask(known).params)


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for question in sys.stdin:
        print(json.dumps(answer(question)), flush=True)


if __name__ == "__main__":
    main()
