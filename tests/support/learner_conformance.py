"""What every training must do, whatever it learns: inherit `LearnerConformance` and say how one is made."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch

from supervisor.journal import durable
from trainers import weights
from trainers.evaluate import OnnxSession
from trainers.export import interface, onnx_bytes
from trainers.learner import Exported, Learner, State

End = tuple[str, dict[str, float]]


def end_of(training: Learner) -> End:
    """Run it to its end: the hash of what it hands on, and its figures."""
    while not training.finished:
        training.advance()
    return durable.sha256_bytes(weights.pack(training.final())), training.metrics()


def saved(training: Learner) -> State:
    """Its state as a file gives it back."""
    return weights.unpack(weights.pack(training.state()))


def _parts(state: Mapping[str, object]) -> list[str]:
    return sorted(state)


class LearnerConformance:
    """`make_learner(seed)` gives a small training of at least ten `advance`s, a tenth of a second in all.

    Parts of the state that hold nothing of their own (a scaler that is off) go to `idle_parts`.
    """

    idle_parts: frozenset[str] = frozenset()
    _whole: tuple[int, End]

    def make_learner(self, seed: int) -> Learner:
        raise NotImplementedError

    def advanced(self, seed: int, units: int) -> Learner:
        training = self.make_learner(seed)
        for _ in range(units):
            training.advance()
        return training

    @classmethod
    def whole(cls) -> tuple[int, End]:
        """How many units of work a training of seed 1 takes, and its end; run once for all tests."""
        if "_whole" not in vars(cls):
            training, count = cls().make_learner(1), 0
            while not training.finished:
                training.advance()
                count += 1
            assert count >= 10
            cls._whole = count, end_of(training)
        return cls._whole

    def test_one_seed_gives_one_training_and_another_seed_another(self) -> None:
        assert end_of(self.make_learner(1)) == self.whole()[1]
        assert end_of(self.make_learner(2)) != self.whole()[1]

    def test_its_figures_are_finite_and_its_steps_never_fall(self) -> None:
        training = self.make_learner(1)
        steps = [training.steps_done]
        while not training.finished:
            training.advance()
            steps.append(training.steps_done)
        assert steps == sorted(steps)
        assert steps[0] == 0 < steps[-1]
        assert training.metrics()
        assert all(math.isfinite(value) for value in training.metrics().values())

    @pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
    def test_saved_anywhere_and_restored_into_a_training_of_another_seed_it_ends_the_same(self, share: float) -> None:
        units, whole_end = self.whole()
        state = saved(self.advanced(1, max(1, round(share * units))))
        other = self.advanced(2, 2)
        other.load_state(state)
        assert end_of(other) == whole_end

    def test_every_part_of_the_saved_state_is_needed(self) -> None:
        """Without it the end is another one: a part that could be left out would make the test above blind."""
        units, whole_end = self.whole()
        half = units // 2
        state, foreign = saved(self.advanced(1, half)), saved(self.advanced(2, half))
        assert _parts(state) == _parts(foreign)
        blind = []
        for part in _parts(state):
            if part in self.idle_parts:
                continue
            other = self.make_learner(2)
            other.load_state({**state, part: foreign[part]})
            if end_of(other) == whole_end:
                blind.append(part)
        assert not blind

    def test_its_file_answers_as_its_network_does_for_any_batch(self) -> None:
        exported = self.advanced(1, 5).exported()
        session = OnnxSession(onnx_bytes(exported))
        for rows in (1, 7, 128):
            inputs = self.example(exported, rows)
            answers = session.run(inputs)
            with torch.no_grad():
                said = exported.network(*(torch.from_numpy(inputs[name]) for name in exported.inputs))
            expected = dict(zip(exported.outputs, said if isinstance(said, tuple) else (said,), strict=True))
            assert list(answers) == list(exported.outputs)
            for name, value in answers.items():
                assert value.shape == (rows, *exported.outputs[name])
                assert np.abs(value - expected[name].numpy()).max() <= 1e-4

    def test_its_file_is_what_the_server_takes(self) -> None:
        from supervisor.serving.leash import Leash
        from supervisor.serving.session import build

        exported = self.advanced(1, 1).exported()
        assert build(onnx_bytes(exported), interface(exported), 256, Leash()).interface == interface(exported)

    def example(self, exported: Exported, rows: int) -> dict[str, np.ndarray]:
        """Inputs of some rows; ids must be overridden by what the network knows."""
        rng = np.random.default_rng(rows)
        return {name: rng.random((rows, *shape), dtype=np.float32) for name, shape in exported.inputs.items()}
