"""Memory of a GPU held by this process: the first that it sees, of the stand-in where one is set up.

As a program, `python -m tests.support.gpu_memory MB`, it holds them until its input ends.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

MIB = 2**20
STAND_IN_NAME = "NVML_STAND_IN"
NOT_TOLD = -1  # a process whose memory the driver does not tell


def hold(mb: int) -> None:
    """From now on; called again it adds on a real GPU, and replaces on the stand-in."""
    state = os.environ.get(STAND_IN_NAME)
    if state is not None:
        claim = Path(state) / "claims" / str(os.getpid())
        pending = claim.with_name(f"new-{os.getpid()}")
        pending.write_text(f"{_first_seen(Path(state))} {mb}\n")
        pending.rename(claim)
        return
    cuda = ctypes.CDLL("libcuda.so.1")
    context, pointer = ctypes.c_void_p(), ctypes.c_uint64()
    for code in (
        cuda.cuInit(0),
        cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0),
        cuda.cuCtxSetCurrent(context),
        cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(mb * MIB)),
    ):
        if code != 0:
            raise RuntimeError(f"CUDA driver error {code}")


def _first_seen(state: Path) -> int:
    """The driver's number of the first GPU that CUDA would see."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    known = [line.split()[0] for line in (state / "gpus").read_text().splitlines()]
    return int(visible) if visible.isdigit() else known.index(visible)


if __name__ == "__main__":
    hold(int(sys.argv[1]))
    print(flush=True)
    sys.stdin.read()
