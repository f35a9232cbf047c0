"""The model that every server of the comparison serves, and what it must answer."""

from __future__ import annotations

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tests.support import onnx_models

HIDDEN = 1136  # 85,210 parameters
INPUT, OUTPUT = "state", "q_values"
SEED = 1
DECIMALS = 4  # so that a number is as long in JSON as a game would write it
TOLERANCE = 1e-4

Rows = NDArray[np.float32]


def onnx_bytes(seed: int = SEED) -> bytes:
    return onnx_models.mlp(seed, HIDDEN)


def states(rows: int) -> Rows:
    """Random states, [rows, 64]."""
    return np.random.default_rng(0).standard_normal((rows, onnx_models.STATE)).round(DECIMALS).astype(np.float32)


def session(seed: int = SEED) -> onnxruntime.InferenceSession:
    """One thread, as every server of the comparison has it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(onnx_bytes(seed), options, providers=["CPUExecutionProvider"])


def answers(of: Rows) -> Rows:
    """What `session.run` says, [rows, 10]."""
    values: Rows = session().run(None, {INPUT: of})[0]
    return values
