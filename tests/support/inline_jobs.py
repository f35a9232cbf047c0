"""Jobs done in this process, so that a test does not wait for another one to import torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from unittest import mock

import pytest

from supervisor.commands import jobs
from supervisor.contract import as_json, parse
from supervisor.errors import IncumbentError, TrialError


def _run_together(given: Sequence[jobs.Job], say: jobs.Say, leave: object = None) -> list[object]:
    results = []
    for job in given:
        module = import_module(f"trainers.jobs.{job.module}")
        with mock.patch.object(module, "say", say, create=True):
            try:
                results.append(parse(job.result, as_json(module.work(parse(type(job.task), as_json(job.task))))))
            except TrialError as error:
                raise IncumbentError(str(error)) from error
    return results


@pytest.fixture
def inline_jobs() -> Iterator[None]:
    with mock.patch.object(jobs, "run_together", _run_together):
        yield
