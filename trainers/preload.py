"""Imported once by the forkserver, so that a trial starts with everything slow already in memory.

No tensor is touched and no thread started here: a fork takes neither along. onnxruntime starts threads when imported
and is left to the trial.
"""

from __future__ import annotations

import onnx  # noqa: F401
import torch
import torch._dynamo  # the first optimizer step imports it otherwise, in about a second

import trainers.worker  # noqa: F401

torch.set_num_threads(1)
