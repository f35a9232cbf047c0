"""Versions as files for elsewhere: converted, compared with the registered file on rows of real games, written."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from supervisor.errors import TrialError
from supervisor.journal import durable
from supervisor.tasks import ExportFile, ExportItem, ExportResult, ExportTask
from trainers.catalogue import CATALOGUE, model_type
from trainers.evaluate import OnnxSession, load_session
from trainers.jobs.job import main, say
from trainers.jobs.precision import halved, simplified
from trainers.learner import Case, Floats

CHOICES = ("values", "logits", "probabilities")
"""What the name of an output ends with whose greatest number is the choice, as for the server."""

LARGEST_ROWS = 4096
NUMBERS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


def work(task: ExportTask) -> ExportResult:
    return ExportResult(tuple(_file(task, item) for item in task.items))


def _file(task: ExportTask, item: ExportItem) -> ExportFile:
    path = Path(task.output) / f"{item.name}.onnx"
    try:
        session = load_session(Path(task.models) / f"{item.model_sha256}.onnx", item.model_sha256)
        data = _converted((Path(task.models) / f"{item.model_sha256}.onnx").read_bytes(), task)
        found = ExportFile(item.name, durable.sha256_bytes(data), _parameters(data))
        if task.tolerance is not None:
            found = _compared(found, session, OnnxSession(data), rows_of(item, session), task)
    except (TrialError, ValueError) as error:
        found = ExportFile(item.name, problem=str(error))
    if found.problem:
        durable.remove(path)  # of an earlier export: it would pass for this one
        say(f"{item.target}: {found.problem}")
    else:
        durable.write_atomic(path, data)
        say(f"{item.target} -> {path}{_told(found)}")
    return found


def _told(found: ExportFile) -> str:
    if found.difference is None:
        return ""
    choices = "" if found.equal_choices is None else f", {100 * found.equal_choices:.1f} % equal choices"
    return f" (differs by {found.difference:.1e} at most{choices})"


def _converted(model: bytes, task: ExportTask) -> bytes:
    """Constants are folded before they are halved: what is left of them in FP16 makes some runtimes crash on a CPU."""
    simple = simplified(model) if task.optimize or task.half else model
    return halved(simple) if task.half else simple


def rows_of(item: ExportItem, session: OnnxSession) -> dict[str, Floats]:
    """What the model sees in games of its own; noise for a model type that is not built in."""
    name = item.target.split("/", 1)[1]
    if name in CATALOGUE:
        case = Case(item.target.split("/", 1)[0], item.level, {})
        seen = model_type(name).rehearse(case, session, item.seed).inputs
    else:
        noise = np.random.default_rng(item.seed)
        seen = {key: noise.standard_normal((LARGEST_ROWS, *s), np.float32) for key, s in session.shapes.items()}
    count = len(next(iter(seen.values())))
    some = np.linspace(0, count - 1, min(count, LARGEST_ROWS)).astype(np.int64)
    return {key: np.ascontiguousarray(value[some]) for key, value in seen.items()}


def _compared(
    found: ExportFile, registered: OnnxSession, ours: OnnxSession, rows: Mapping[str, Floats], task: ExportTask
) -> ExportFile:
    expected, got = registered.run(rows), ours.run(rows)
    if not all(np.isfinite(value).all() for value in got.values()):
        return ExportFile(found.name, problem="it answers with numbers that are not finite")
    difference = max(float(np.abs(got[name] - value).max()) for name, value in expected.items())
    equal = _equal_choices(expected, got)
    assert task.tolerance is not None
    if difference > task.tolerance or (equal is not None and equal < task.equal_choices):
        chosen = (
            "" if equal is None else f" and chooses the same in {100 * equal:.2f} % of {len(next(iter(rows.values())))}"
        )
        bounds = f"at most {task.tolerance:g} and at least {100 * task.equal_choices:g} %"
        problem = f"it differs by {difference:.1e}{chosen}; {bounds} are asked for"
        return ExportFile(found.name, "", found.parameters, difference, equal, problem)
    return ExportFile(found.name, found.sha256, found.parameters, difference, equal)


def _equal_choices(expected: Mapping[str, Floats], got: Mapping[str, Floats]) -> float | None:
    name = next((name for name in expected if name.endswith(CHOICES)), None)
    if name is None:
        return None
    return float((expected[name].argmax(1) == got[name].argmax(1)).mean())


def _parameters(data: bytes) -> int:
    tensors = onnx.load_from_string(data).graph.initializer
    return sum(math.prod(tensor.dims) for tensor in tensors if tensor.data_type in NUMBERS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], ExportTask, work))
