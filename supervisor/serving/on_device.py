"""A session on the GPU, run through bindings: inputs are copied there once, outputs are made there and copied back.

Both lie in the session's own memory, which is limited; see `gpu_room`. Tried through the same bindings on the CPU; on a
GPU it has not run yet: `tests/serving/test_provider.py` does so where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime

from supervisor.serving.gpu_room import Share


def cuda_options(share: Share) -> dict[str, str]:
    """Memory is taken as it is needed: doubled each time, small models would reserve most of it."""
    return {
        "device_id": "0",
        "gpu_mem_limit": str(share.arena_bytes),
        "arena_extend_strategy": "kSameAsRequested",
    }


class OnDevice:
    """Runs as an `onnxruntime.InferenceSession` does. `device` is "cuda", or "cpu" to try the same without one."""

    def __init__(self, session: onnxruntime.InferenceSession, share: Share | None, device: str = "cuda") -> None:
        self._session, self._device = session, device
        self._outputs = [value.name for value in session.get_outputs()]
        self.share = share  # held until this is gone

    def run(
        self,
        _names: object,
        inputs: Mapping[str, np.ndarray[Any, np.dtype[Any]]],
        options: onnxruntime.RunOptions | None = None,
    ) -> Sequence[Any]:
        """All outputs in the file's order."""
        binding = self._session.io_binding()
        for name, value in inputs.items():
            binding.bind_cpu_input(name, value)
        for name in self._outputs:
            binding.bind_output(name, self._device)
        self._session.run_with_iobinding(binding, options)
        values: Sequence[Any] = binding.copy_outputs_to_cpu()
        return values
