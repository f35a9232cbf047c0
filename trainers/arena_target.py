"""The built-in kind of target: train in the arena, export, play the exported file against the traditional AI."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch

from supervisor.contract import Params, Reason, TrialSpec, Version
from supervisor.errors import TrialError
from supervisor.journal import durable
from trainers import weights
from trainers.algorithms import dqn
from trainers.arena.arena import Arena
from trainers.arena.rewards import POINTS_PER_REWARD, effective_weights
from trainers.catalogue import model_type
from trainers.evaluate import ArenaPlayer, OnnxPolicy, entropy_bits, load_policy, rehearse
from trainers.export import interface, mlp_bytes
from trainers.networks.mlp import Weights
from trainers.parameters import fields, group
from trainers.target import Built, Control

MODEL_NAME = "model.onnx"
WEIGHTS_NAME = "final.pt"
FIGHTS = 512
SAVE_INTERVAL_S = 10.0
"""When it is saved decides nothing but how much a kill costs."""

MEASURED_FIGHTS = 128
LATENCY_BATCHES = (1, 128)

ELSEWHERE = {
    "learning_rate": "training.learning_rate",
    "exploration_noise": "training.exploration_noise",
}
"""Fields of the algorithm that an archetype has its own default for; the others are `dqn.<field>`."""

NAMES = {field: ELSEWHERE.get(field, f"dqn.{field}") for field in dqn.Args.__dataclass_fields__}


class ArenaTarget:
    """TrialTarget of kind `arena`. Models of other versions lie in `folder/../../models`."""

    block_games = 100

    def __init__(self, spec: TrialSpec, folder: Path, control: Control) -> None:
        torch.set_num_threads(1)
        self._spec, self._control = spec, control
        self._models = folder.parent.parent / "models"
        self._type = model_type(spec.model_type)

    def build(self, params: Params, work: Path) -> Built:
        """Train for the budget's environment steps from the newest resume point, export, measure."""
        rewards = group(params, "reward")
        args = fields(dqn.Args, NAMES, {name: value for name, value in params.items() if name not in rewards})
        try:
            learner = self._train(args, rewards, work)
            return self._export(learner, work)
        except RuntimeError as error:
            if "can't allocate memory" in str(error):  # what torch makes of a refused malloc
                raise MemoryError(str(error)) from error
            raise

    def candidate(self, params: Params, built: Built) -> ArenaPlayer:
        """The side that plays with the file just built."""
        assert built.model is not None
        weights.drop_points(built.model.parent)  # only now is it on record that the build is done
        return self._player(OnnxPolicy(built.model.read_bytes()))

    def incumbent(self, version: Version) -> ArenaPlayer:
        return self._player(self._load(version))

    def close(self) -> None:
        """Nothing is held."""

    def _load(self, version: Version) -> OnnxPolicy:
        return load_policy(self._models / f"{version.model_sha256}.onnx", version.model_sha256)

    def _player(self, policy: OnnxPolicy) -> ArenaPlayer:
        return ArenaPlayer(policy, self._spec.archetype, self._spec.level)

    def _train(self, args: dqn.Args, rewards: Params, work: Path) -> dqn.DoubleDQN:
        steps, seed = self._spec.budget.steps, self._spec.seeds["train"]
        arena = self._arena(FIGHTS, rewards, seed)
        learner = dqn.DoubleDQN(args, arena, steps, seed, self._type.inputs, self._type.outputs, self._start())
        point = weights.load_point(work)
        if point is not None:
            learner.load_state(point[1])
        saved_s = time.monotonic()
        while not learner.finished:
            stopping = self._control.stop_requested
            if stopping or time.monotonic() - saved_s > SAVE_INTERVAL_S:
                _save(work, learner)
                saved_s = time.monotonic()
            if stopping:
                self._control.check()
            learner.advance()
            self._control.beat(learner.steps_done)
        return learner

    def _arena(self, rows: int, rewards: Params, first_seed: int, reopen: bool = True) -> Arena:
        try:
            factors = effective_weights(self._spec.archetype, rewards)
            arena = Arena(rows, self._spec.archetype, self._spec.level, factors, reopen=reopen)
        except ValueError as error:
            raise TrialError(Reason.OUT_OF_RANGE, str(error)) from error
        arena.start(np.arange(first_seed, first_seed + rows, dtype=np.uint64))
        return arena

    def _start(self) -> Mapping[str, Weights] | None:
        """The weights of the version to go on from, None from scratch."""
        version = self._spec.start
        if version is None or version.weights_sha256 is None:
            return None
        path = self._models / f"{version.weights_sha256}.pt"
        try:
            return cast(Mapping[str, Weights], weights.load_checked(path, version.weights_sha256))
        except ValueError as error:
            raise TrialError(Reason.UNKNOWN_VERSION, str(error)) from error

    def _export(self, learner: dqn.DoubleDQN, work: Path) -> Built:
        layers = learner.q.layers()
        names = self._type.input_name, self._type.output_name
        model = mlp_bytes(layers, *names)
        measured, latency = self._measure(learner, OnnxPolicy(model))
        durable.write_atomic(work / WEIGHTS_NAME, weights.pack(learner.final()))
        durable.write_atomic(work / MODEL_NAME, model)
        return Built(
            steps=learner.steps_done,
            model=work / MODEL_NAME,
            weights=work / WEIGHTS_NAME,
            interface=interface(layers, *names),
            measured=measured,
            metrics={**learner.metrics(), **{name: measured[name] for name in ("entropy_bits", "reward")}},
            latency=latency,
        )

    def _measure(self, learner: dqn.DoubleDQN, policy: OnnxPolicy) -> tuple[dict[str, float], dict[str, float]]:
        """What the guards bound, on the states of fresh fights; and the latencies in seconds.

        The reward is in points under the archetype's default weights: those being searched would praise themselves.
        """
        unused = self._spec.seeds["train"] + self._spec.budget.steps + FIGHTS  # a fight lasts at least a step
        states, reward = rehearse(policy, self._arena(MEASURED_FIGHTS, {}, unused, reopen=False))
        answers = policy.outputs(states)
        with torch.no_grad():
            expected = learner.q(torch.from_numpy(states)).numpy()
        finite = bool(np.isfinite(answers).all())
        quantities = {
            "onnx_difference": float(np.abs(answers - expected).max()) if finite else float(np.finfo(np.float32).max),
            "finite": float(finite),
            "entropy_bits": entropy_bits(answers.argmax(1), self._type.outputs),
            "reward": reward * POINTS_PER_REWARD,
        }
        latency = {f"batch_{rows}": policy.latency_s(states[:rows]) for rows in LATENCY_BATCHES}
        if self._spec.incumbent is not None:
            other = self._load(self._spec.incumbent)
            latency |= {f"incumbent_batch_{rows}": other.latency_s(states[:rows]) for rows in LATENCY_BATCHES}
        for name, seconds in latency.items():
            quantities[name.replace("batch", "latency_ms_batch")] = seconds * 1000
        return quantities, {f"{name}_p95_s": seconds for name, seconds in latency.items()}


def _save(work: Path, learner: dqn.DoubleDQN) -> None:
    """A disk without room costs no more than the work since the point before."""
    with contextlib.suppress(durable.DiskFullError):
        weights.save_point(work, learner.steps_done, learner.state())
