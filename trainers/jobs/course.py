"""One training from its first step to its last, measured at every quarter: how fast it learns, and what it comes to."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from supervisor.journal import durable
from supervisor.tasks import CourseResult, CourseTask
from trainers import weights
from trainers.arena_target import MODEL_NAME, WEIGHTS_NAME
from trainers.evaluate import OnnxSession
from trainers.export import onnx_bytes
from trainers.jobs.job import main, say
from trainers.jobs.training import Training, begin
from trainers.learner import Case

QUARTERS = 4
APART = 2**40
"""Between the seeds of the games at the end and those on the way, which must not be the same."""


def work(task: CourseTask) -> CourseResult:
    training, curve, seconds = begin(task.training), [], 0.0
    learner, total = training.learner, task.training.steps
    before = _scores(training, task.first_game, task.games)
    for quarter in range(1, QUARTERS + 1):
        began_s = time.perf_counter()
        while not learner.finished and learner.steps_done < total * quarter / QUARTERS:
            learner.advance()
        seconds += time.perf_counter() - began_s
        score = _mean(_scores(training, task.first_game + APART, task.probe_games))
        curve.append((learner.steps_done, score))
        say(f"{task.name}: {learner.steps_done:,} of {total:,} steps, {100 * score:.1f} % of {task.probe_games} games")
    metrics = learner.metrics()
    return CourseResult(
        scores=tuple(_scores(training, task.first_game, task.games)),
        curve=tuple(curve),
        steps=learner.steps_done,
        seconds=seconds,
        before=tuple(before),
        taken_over=metrics.get("warm_start"),
        metrics=metrics,
        baseline=_baseline(training, task),
        model_sha256=_kept(training, Path(task.output)) if task.output else None,
    )


def _scores(training: Training, first: int, games: int) -> list[float]:
    session = OnnxSession(onnx_bytes(training.learner.exported()))
    return [float(score) for score in training.kind.player(_judged(training), session).play(first, games)]


def _judged(training: Training) -> Case:
    """Reward weights play no part in games."""
    return Case(training.case.archetype, training.case.level, {})


def _baseline(training: Training, task: CourseTask) -> float | None:
    found = training.kind.baseline(_judged(training))
    return None if found is None else _mean([float(score) for score in found[1].play(task.first_game, task.games)])


def _mean(scores: list[float]) -> float:
    return sum(scores) / len(scores)


def _kept(training: Training, folder: Path) -> str:
    model = onnx_bytes(training.learner.exported())
    durable.write_atomic(folder / WEIGHTS_NAME, weights.pack(training.learner.final()))
    durable.write_atomic(folder / MODEL_NAME, model)
    return durable.sha256_bytes(model)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], CourseTask, work))
