"""The networks that are swapped for each other, and what each must answer, computed without a runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from tests.support.onnx_models import ACTIONS, STATE, model, tensor

Rows = NDArray[np.float32]

SHARE = 1e-4  # of an answer's largest value: products of other sizes are added up in another order


@dataclass(frozen=True)
class Size:
    """A fully connected network with ReLU between its layers."""

    name: str
    hidden: Sequence[int]

    @property
    def parameters(self) -> int:
        return sum((inputs + 1) * outputs for inputs, outputs in self._layers)

    @property
    def _layers(self) -> list[tuple[int, int]]:
        return list(pairwise([STATE, *self.hidden, ACTIONS]))

    def _weights(self, seed: int) -> list[tuple[Rows, Rows]]:
        """Of every layer, scaled so that its answers are as large as its inputs."""
        random = np.random.default_rng(seed)
        drawn = []
        for inputs, outputs in self._layers:
            matrix = random.standard_normal((inputs, outputs), np.float32) * np.float32((2 / inputs) ** 0.5)
            drawn.append((matrix, random.standard_normal(outputs, np.float32)))
        return drawn

    def onnx_bytes(self, seed: int) -> bytes:
        nodes, tensors, last = [], [], "state"
        for number, (matrix, bias) in enumerate(self._weights(seed)):
            if number:
                nodes.append(helper.make_node("Relu", [last], [f"r{number}"]))
                last = f"r{number}"
            out = "q_values" if number == len(self.hidden) else f"h{number}"
            nodes.append(helper.make_node("Gemm", [last, f"w{number}", f"b{number}"], [out]))
            tensors += [tensor(f"w{number}", matrix), tensor(f"b{number}", bias)]
            last = out
        return model(nodes, tensors)

    def values(self, seed: int, states: Rows) -> Rows:
        x = states
        for number, (matrix, bias) in enumerate(self._weights(seed)):
            x = (np.maximum(x, 0) if number else x) @ matrix + bias
        return x


SMALL = Size("small", (1136,))
LARGE = Size("large", (1210, 1210, 1210))


def states(rows: int) -> Rows:
    """[rows, STATE], another row for every connection."""
    return np.random.default_rng(0).standard_normal((rows, STATE), np.float32)


def is_same(found: Rows, expected: Rows) -> bool:
    """Whether one row answers as expected; NaN never does."""
    return bool(np.abs(found - expected).max() <= SHARE * np.abs(expected).max())
