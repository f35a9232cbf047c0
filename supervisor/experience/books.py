"""The tables of trainings, models and deployments, which people ask in SQL: what a line of the log says, as rows.

One transaction for each line, the training's row last of all: where it stands, the whole line does. Written again, a
line changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from supervisor.errors import DamagedStateError
from supervisor.experience.rows import MICROSECONDS
from supervisor.record import Record

Run = Callable[[str, Sequence[object]], Any]
"""Runs a named query; what it gives has `fetchone`."""


@dataclass(frozen=True)
class Books:
    """Of one connection. `transaction` also tells the database's errors as ours."""

    run: Run
    transaction: Callable[[], AbstractContextManager[object]]

    def claim(self, run_id: str, folder_id: str, now_us: int) -> None:
        """Say that this folder writes the run's rows. Raises DamagedStateError where another one does, a copy of it."""
        with self.transaction():
            found = self.run("owner", (run_id,)).fetchone()
            if found is not None and found[0] != folder_id:
                raise DamagedStateError(
                    f"run {run_id} is written into this database by another run folder; of two copies of a folder only"
                    " one may: give the other an experience.url of its own, or remove the run's row from ml_runs"
                )
            self.run("claim", (run_id, folder_id, now_us))

    def last(self, run_id: str) -> int:
        """The last iteration that is written."""
        with self.transaction():
            return int(self.run("last", (run_id,)).fetchone()[0])

    def write(self, record: Record) -> None:
        with self.transaction():
            for name, values in statements(record):
                self.run(name, values)


def statements(record: Record) -> list[tuple[str, Sequence[object]]]:
    """A line as queries by name, in order. Pure."""
    key = (record.archetype, record.model_type)
    begun_us, ended_us = microseconds(record.time.get("started_at")), microseconds(record.time.get("finished_at"))
    found: list[tuple[str, Sequence[object]]] = []
    version, sha256 = record.version, record.model_sha256
    path = f"models/{sha256}.onnx" if record.interface is not None else ""
    if version is not None and record.made_version is not None:
        metrics = json.dumps(metrics_of(record), sort_keys=True)
        found.append(("model", (record.run_id, *key, version, metrics, path, ended_us)))
    if record.goes_back or record.promoted:
        found += [("undeploy_models", key), ("deactivate", key)]
        if version is not None:
            found.append(("deploy_model", (record.run_id, *key, version)))
            values = (record.run_id, *key, version, path, sha256, record.best_win_rate, ended_us)
            found.append(("activate", values))
    lesson = record.lesson
    gain = record.improvement if record.promoted else record.delta
    row = (
        *(record.run_id, record.iteration, *key, lesson.cycle if lesson is not None else 0, begun_us, ended_us),
        *(record.steps, record.win_rate, gain, record.promoted and not record.rollbacks, record.goes_back),
        *(lesson.rows if lesson is not None else 0, version, str(record.reason), ended_us),
    )
    found.append(("training", row))
    return found


def metrics_of(record: Record) -> Mapping[str, float | None]:
    """What is kept of a version as JSON; `val_loss` is by how much its values of held-out play, or else of its own
    training, were off."""
    named = {"win_rate": record.win_rate, "best_win_rate": record.best_win_rate, "improvement": record.improvement}
    losses = ("holdout_td_error", "validation_loss", "train_loss")
    loss = next((record.metrics[name] for name in losses if name in record.metrics), None)
    return {**record.metrics, **named, "val_loss": loss}


def microseconds(text: object) -> int:
    """A line's time of day; 1970 where it has none."""
    return int(datetime.fromisoformat(text).timestamp() * MICROSECONDS) if isinstance(text, str) and text else 0
