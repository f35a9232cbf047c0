"""Train a model type, export it, play the exported file: the built-in ones in the arena, or one that is given."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from supervisor.contract import Params, Reason, TrialSpec, Version
from supervisor.errors import TrialError
from supervisor.journal import durable
from trainers import weights
from trainers.catalogue import model_type
from trainers.curves import Curves, open_curves
from trainers.device import compute_exactly
from trainers.evaluate import OnnxSession, load_session
from trainers.export import interface, on_cpu, onnx_bytes
from trainers.learner import (
    Case,
    Exported,
    Floats,
    Learner,
    LearnsFromPlay,
    ModelType,
    Rehearsal,
    Stacking,
    State,
)
from trainers.parameters import fields, group
from trainers.played import Played, plan_of
from trainers.target import Built, Control, Player
from trainers.together import Training, save_point, train_together

MODEL_NAME = "model.onnx"
WEIGHTS_NAME = "final.pt"
LAST_GOOD_NAME = "last_good.pt"
SAVE_INTERVAL_S = 10.0
"""When it is saved decides nothing but how much a kill costs."""

UNSEEN = 2**20
"""Fights between the last one that a training may have met and the first one that its file is tried on."""

LATENCY_BATCHES = (1, 128)


class ArenaTarget:
    """TrialTarget of kind `arena`. Models of other versions lie in `folder/../../models`."""

    block_games = 100

    def __init__(self, spec: TrialSpec, folder: Path, control: Control, kind: ModelType | None = None) -> None:
        """`kind` is what is trained; by default the built-in model type that the target names."""
        torch.set_num_threads(1)
        compute_exactly()
        self._spec, self._folder, self._control = spec, folder, control
        self._models = folder.parent.parent / "models"
        self._type = kind or model_type(spec.model_type)
        self._step_s: float | None = None  # of the training, where this process did any of it

    def build(self, params: Params, work: Path) -> Built:
        """Train for the budget's steps from the newest resume point, export, measure."""
        with _refused_memory():
            case, learner = self._learner(params, work)
            self._train(learner, work)
            if self._spec.lesson is not None and not learner.metrics()["new_rows"]:
                raise TrialError(Reason.EXPERIENCES_GONE, "the store has none of the rows that this lesson is of")
            return self._export(case, learner, work)

    def prepare(self, candidates: Sequence[tuple[Params, Path]]) -> None:
        """Train them as one batch where the model type can and memory lets it; their points say where each ended."""
        self._train_together([training for params, work in candidates for training in self._training(params, work)])

    def prepare_group(self, others: Sequence[tuple[TrialSpec, Path, Control]]) -> None:
        """The same with trials of their own: each trains with what its own proposal says."""
        trainings = [*self._training(self._spec.params, self._folder)]
        for spec, work, control in others:
            trainings += ArenaTarget(spec, work, control, self._type)._training(spec.params, work, control)
        self._train_together(trainings)

    def candidate(self, params: Params, built: Built) -> Player:
        """The side that plays with the file just built."""
        assert built.model is not None
        weights.drop_points(built.model.parent)  # only now is it on record that the build is done
        return self._player(OnnxSession(built.model.read_bytes()))

    def incumbent(self, version: Version) -> Player:
        return self._player(self._load(version))

    def close(self) -> None:
        """Nothing is held."""

    def _load(self, version: Version) -> OnnxSession:
        return load_session(self._models / f"{version.model_sha256}.onnx", version.model_sha256)

    def _player(self, session: OnnxSession) -> Player:
        return self._type.player(Case(self._spec.archetype, self._spec.level, {}), session)

    def _args(self, params: Params) -> tuple[Params, Any]:
        """The reward weights, and the algorithm's arguments. Raises TrialError for parameters that make no training."""
        rewards = group(params, "reward")
        own = {name: value for name, value in params.items() if name not in rewards}
        return rewards, fields(self._type.args, self._type.names, own)

    def _learner(self, params: Params, work: Path) -> tuple[Case, Learner]:
        """The training as far as its folder has it."""
        rewards, args = self._args(params)
        case = Case(self._spec.archetype, self._spec.level, rewards)
        try:
            learner = self._new_learner(case, args)
        except ValueError as error:
            raise TrialError(Reason.OUT_OF_RANGE, str(error)) from error
        point = weights.load_point(work)
        if point is not None:
            learner.load_state(point[1])
        return case, learner

    def _new_learner(self, case: Case, args: Any) -> Learner:
        spec, seed = self._spec, self._spec.seeds["train"]
        if spec.lesson is None:
            return self._type.learner(case, args, spec.budget.steps, seed, self._start())
        if not isinstance(self._type, LearnsFromPlay):
            raise TrialError(Reason.OUT_OF_RANGE, f"{spec.model_type} cannot learn from what was played")
        plan = plan_of(spec.lesson, spec.rules)
        pages = Played(spec.lesson, self._models.parent, self._folder, self._control).pages
        return self._type.learner_from_play(case, args, plan, seed, self._start(), pages)

    def _training(self, params: Params, work: Path, control: Control | None = None) -> Sequence[Training]:
        """The training as part of a batch; none where it cannot be, or can be none: that is left to `build`."""
        if not isinstance(self._type, Stacking) or self._spec.lesson is not None:
            return []
        try:
            memory_mb = self._type.memory_mb(self._args(params)[1])
        except TrialError:
            return []
        return [Training(work, memory_mb, lambda: self._learner(params, work)[1], control)]

    def _train_together(self, trainings: Sequence[Training]) -> None:
        """As many at a time as half the memory's budget holds."""
        if isinstance(self._type, Stacking):
            with _refused_memory():
                train_together(self._type, trainings, self._spec.budget.ram_mb / 2, SAVE_INTERVAL_S, self._control)

    def _train(self, learner: Learner, work: Path) -> None:
        with contextlib.closing(open_curves(self._spec, work)) as curves:
            self._run(learner, work, curves)

    def _run(self, learner: Learner, work: Path, curves: Curves) -> None:
        """To the end of the budget, saving every few seconds."""
        began_s, began = time.perf_counter(), learner.steps_done
        saved_s, saved = time.monotonic(), began
        while not learner.finished:
            stopping = self._control.stop_requested
            if stopping or time.monotonic() - saved_s > SAVE_INTERVAL_S or self._saves_at(learner.steps_done, saved):
                save_point(work, learner)
                saved_s, saved = time.monotonic(), learner.steps_done
            if stopping:
                self._control.check()
            self._advance(learner, work)
            self._control.beat(learner.steps_done)
            curves.note(learner.steps_done, learner.metrics)
        if learner.steps_done > began:
            self._step_s = (time.perf_counter() - began_s) / (learner.steps_done - began)

    def _saves_at(self, step: int, saved: int) -> bool:
        """In a lesson after so many gradient steps too."""
        told = self._spec.rules.get("continuous") if self._spec.lesson is not None else None
        return isinstance(told, dict) and step - saved >= int(str(told["checkpoint_frequency"]))

    def _advance(self, learner: Learner, work: Path) -> None:
        """One unit of work; of a training that diverges the last good weights stay in the trial's folder."""
        try:
            learner.advance()
        except TrialError as error:
            if error.reason == Reason.DIVERGED:
                with contextlib.suppress(durable.DiskFullError):
                    durable.write_atomic(work / LAST_GOOD_NAME, weights.pack(learner.final()))
            raise

    def _start(self) -> State | None:
        """The weights of the version to go on from, None from scratch."""
        version = self._spec.start
        if version is None or version.weights_sha256 is None:
            return None
        path = self._models / f"{version.weights_sha256}.pt"
        try:
            return weights.load_checked(path, version.weights_sha256)
        except ValueError as error:
            raise TrialError(Reason.UNKNOWN_VERSION, str(error)) from error

    def _export(self, case: Case, learner: Learner, work: Path) -> Built:
        exported = on_cpu(learner.exported())
        model = onnx_bytes(exported)
        session = OnnxSession(model)
        rehearsal = self._type.rehearse(case, session, self._spec.seeds["train"] + self._spec.budget.steps + UNSEEN)
        agreement = _agreement(exported, session, rehearsal.inputs)
        latencies_s = self._latencies_s(session, rehearsal)
        durable.write_atomic(work / WEIGHTS_NAME, weights.pack(learner.final()))
        durable.write_atomic(work / MODEL_NAME, model)
        latencies_ms = {name.replace("batch", "latency_ms_batch"): s * 1000 for name, s in latencies_s.items()}
        return Built(
            steps=learner.steps_done,
            model=work / MODEL_NAME,
            weights=work / WEIGHTS_NAME,
            interface=interface(exported),
            measured={**agreement, **rehearsal.measured, **latencies_ms},
            metrics={**learner.metrics(), **rehearsal.measured},
            latency={
                **{f"{name}_p95_s": seconds for name, seconds in latencies_s.items()},
                **({} if self._step_s is None else {"training_step_s": self._step_s}),
            },
        )

    def _latencies_s(self, session: OnnxSession, rehearsal: Rehearsal) -> dict[str, float]:
        """Of the candidate and, measured beside it, of the incumbent."""
        found = _timed(session, rehearsal, "batch")
        if self._spec.incumbent is not None:
            found |= _timed(self._load(self._spec.incumbent), rehearsal, "incumbent_batch")
        return found


def _agreement(exported: Exported, session: OnnxSession, inputs: Mapping[str, Floats]) -> dict[str, float]:
    """How far the file's answers lie from the network's, and whether they are numbers at all."""
    answers = session.run(inputs)
    with torch.no_grad():
        said = exported.network(*(torch.from_numpy(inputs[name]) for name in exported.inputs))
    expected = dict(zip(exported.outputs, said if isinstance(said, tuple) else (said,), strict=True))
    if not all(np.isfinite(answer).all() for answer in answers.values()):
        return {"onnx_difference": float(np.finfo(np.float32).max), "finite": 0.0}
    difference = max(float(np.abs(answers[name] - value.numpy()).max()) for name, value in expected.items())
    return {"onnx_difference": difference, "finite": 1.0}


def _timed(session: OnnxSession, rehearsal: Rehearsal, name: str) -> dict[str, float]:
    return {
        f"{name}_{rows}": session.latency_s({key: value[:rows] for key, value in rehearsal.inputs.items()})
        for rows in LATENCY_BATCHES
    }


@contextlib.contextmanager
def _refused_memory() -> Iterator[None]:
    """What torch makes of a refused malloc, as Python would say it."""
    try:
        yield
    except RuntimeError as error:
        if "can't allocate memory" in str(error):
            raise MemoryError(str(error)) from error
        raise
