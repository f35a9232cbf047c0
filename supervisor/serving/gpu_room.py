"""How the GPU's memory is shared out among the sessions of this process: all of them together keep within one limit.

onnxruntime limits the memory of each session by itself. A session gets what its tensors can take at the largest batch,
known from their shapes before it is built, and holds that until it is gone; where nothing is left, a model runs on the
CPU. (An allocator that all sessions share would need no reckoning, but then one model could take the memory of all.)
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

MIB = 2**20
SLACK = 2  # pieces of other sizes lie between those in use
ARENA_MIN_BYTES = 16 * MIB
OUTSIDE_BYTES = 40 * MIB
"""Of a session beside its limit: cuBLAS keeps up to 32 MiB for itself with each."""
CONTEXT_BYTES = 512 * MIB
"""Of the process, once: CUDA's context and the kernels."""


def serving_bytes(gpu_bytes: int, fraction: float) -> int:
    """What all sessions together may hold of a GPU of which this fraction is for serving."""
    return max(0, int(gpu_bytes * fraction) - CONTEXT_BYTES)


def arena_bytes(file_bytes: int, tensors_bytes: int) -> int:
    """The limit of one session, whose tensors between the operators take so much at the largest batch."""
    return ARENA_MIN_BYTES + SLACK * (file_bytes + tensors_bytes)


@dataclass(frozen=True, eq=False)
class Share:
    """Held as long as anybody has it: a session does."""

    arena_bytes: int

    @property
    def whole_bytes(self) -> int:
        return self.arena_bytes + OUTSIDE_BYTES


class Room:
    """One model is built at a time, so nobody else takes meanwhile."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self._shares: weakref.WeakSet[Share] = weakref.WeakSet()

    @property
    def left_bytes(self) -> int:
        return self.total_bytes - sum(share.whole_bytes for share in self._shares)

    def take(self, arena_bytes: int) -> Share | None:
        """None where there is not as much left."""
        share = Share(arena_bytes)
        if share.whole_bytes > self.left_bytes:
            return None
        self._shares.add(share)
        return share
