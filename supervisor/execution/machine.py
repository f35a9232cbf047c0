"""What this machine has to compute on, as it answers now."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from supervisor.execution.device import Machine
from supervisor.execution.gpu import Gpu

CUDA_LIBRARY = Path("lib/libtorch_cuda.so")  # in the package torch, where that is built with CUDA


@functools.cache
def torch_has_cuda() -> bool:
    """Found out without importing it: the supervisor never does."""
    spec = find_spec("torch")
    return spec is not None and spec.origin is not None and (Path(spec.origin).parent / CUDA_LIBRARY).exists()


def machine_of(gpus: Sequence[Gpu]) -> Machine:
    """With the GPUs that answered when they were last looked at."""
    return Machine([gpu.card for gpu in gpus if gpu.answers], torch_has_cuda())
