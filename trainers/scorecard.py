"""Examine finished versions: the untrained network against the trained one, the baseline, the size, the latency.

One argument, a folder that holds `task.json`; the result is `card.json` there. The models lie in `--models`. Many
folders may be given: a process that has torch in memory examines one after the other.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import torch

from supervisor.contract import Score, ScoreCard, ScoreTask, as_json, parse
from supervisor.journal import sealed
from supervisor.promotion.difference import paired_interval
from supervisor.promotion.wilson import wilson_interval
from trainers.arena_target import LATENCY_BATCHES
from trainers.catalogue import model_type
from trainers.evaluate import OnnxSession, load_session
from trainers.export import onnx_bytes
from trainers.learner import Case, ModelType
from trainers.parameters import fields, group
from trainers.target import Player

TASK_NAME, CARD_NAME = "task.json", "card.json"
FIRST_LEVEL = 1
APART = 2**40
"""Between the seeds of games at one level and those at another, and those of the rehearsal."""


def examine(task: ScoreTask, models: Path) -> ScoreCard:
    """Play, measure, compare. Raises TrialError where the version's file is gone."""
    archetype, name = task.target.split("/", 1)
    kind = model_type(name)
    case = Case(archetype, task.level, group(task.params, "reward"))
    session = load_session(models / f"{task.model_sha256}.onnx", task.model_sha256)
    untrained = _untrained(kind, case, task)
    before, after = _play(kind, case, untrained, task), _play(kind, case, session, task)
    gain, low, high = paired_interval(after, before)
    easy = replace(case, level=FIRST_LEVEL)
    easy_task = replace(task, seed=task.seed + APART)
    first = _play(kind, easy, session, easy_task)
    bar_name, bar = _bar(kind, easy, easy_task)
    rehearsal = kind.rehearse(case, session, task.seed + 2 * APART)
    latency = {
        f"batch_{rows}": session.latency_s({key: value[:rows] for key, value in rehearsal.inputs.items()}) * 1000
        for rows in LATENCY_BATCHES
    }
    return ScoreCard(
        task=task,
        untrained=_score(before),
        trained=_score(after),
        gain=gain,
        gain_low=low,
        gain_high=high,
        first_level=_score(first),
        bar=bar,
        bar_name=bar_name,
        parameters=_parameters(models / f"{task.model_sha256}.onnx"),
        measured=dict(rehearsal.measured),
        latency_ms=latency,
    )


def _untrained(kind: ModelType, case: Case, task: ScoreTask) -> OnnxSession:
    rewards = group(task.params, "reward")
    args = fields(kind.args, kind.names, {key: value for key, value in task.params.items() if key not in rewards})
    return OnnxSession(onnx_bytes(kind.learner(case, args, 1, task.untrained_seed, None).exported()))


def _parameters(path: Path) -> int:
    """Floating-point numbers in the file; a few of them are constants."""
    weights = onnx.load(path, load_external_data=False).graph.initializer
    return sum(math.prod(tensor.dims) for tensor in weights if tensor.data_type == onnx.TensorProto.FLOAT)


def _play(kind: ModelType, case: Case, session: OnnxSession, task: ScoreTask) -> list[float]:
    return [float(score) for score in kind.player(case, session).play(task.seed, task.games)]


def _bar(kind: ModelType, case: Case, task: ScoreTask) -> tuple[str, float]:
    baseline: tuple[str, Player] | None = kind.baseline(case)
    if baseline is None:
        return "traditional AI, level 1", 0.5
    name, player = baseline
    scores = player.play(task.seed, task.games)
    return name, sum(scores) / task.games


def _score(scores: list[float]) -> Score:
    low, high = wilson_interval(sum(scores), len(scores))
    return Score(sum(scores) / len(scores), low, high)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("folders", type=Path, nargs="+")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for folder in options.folders:
        task = parse(ScoreTask, sealed.read(folder / TASK_NAME))
        sealed.write(folder / CARD_NAME, as_json(examine(task, options.models)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
