"""What a training computes on: the CPU, or the one GPU that its process sees.

Networks, optimizers and the batches of a step lie there. Fights, replay and rollouts stay on the CPU, where they are
simulated and drawn; networks are made there too, so that first weights are the same on every device.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

DEVICE_NAME = "INCUMBENT_DEVICE"  # set by the executor where the trial sees a GPU
CPU, CUDA = torch.device("cpu"), "cuda"
WORKSPACE_NAME, WORKSPACE = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"  # with any other cuBLAS does not repeat its bits


def chosen() -> torch.device:
    """Of this process."""
    return torch.device(os.environ.get(DEVICE_NAME, CPU.type))


def compute_exactly() -> None:
    """Let the same steps come to the same bits on a GPU too; to be called before it is first used. What has no exact
    form there is computed all the same, and torch warns: it stands in the trial's stderr.log."""
    if chosen().type != CUDA:
        return
    os.environ.setdefault(WORKSPACE_NAME, WORKSPACE)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # filling costs time, and nothing reads what was not written
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


def copied(rows: NDArray[np.generic], device: torch.device) -> Tensor:
    """A copy on the device: torch aligns its memory, numpy does not, and so kernels always see the same layout."""
    return torch.from_numpy(rows).clone().to(device)


def dice(device: torch.device, seed: int) -> Generator:
    """Random numbers for what is computed on the device."""
    return torch.Generator(device if device.type == CUDA else CPU).manual_seed(seed)


def rng_state(device: torch.device) -> dict[str, Tensor]:
    """Of torch's own random numbers, dropout's among them; a GPU has its own."""
    own = {"torch_rng": torch.get_rng_state()}
    return own if device.type != CUDA else {**own, "cuda_rng": torch.cuda.get_rng_state(device)}


def set_rng_state(device: torch.device, saved: Mapping[str, object]) -> None:
    """Go on from `rng_state`."""
    torch.set_rng_state(cast(Tensor, saved["torch_rng"]))
    if device.type == CUDA:
        torch.cuda.set_rng_state(cast(Tensor, saved["cuda_rng"]), device)
