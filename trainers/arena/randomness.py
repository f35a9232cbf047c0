"""Counter-based random numbers: a pure function of (fight seed, tick), so there is no generator to save.

Two plays of one seed meet the same luck at the same tick whatever happened before, in whatever row they are played:
that makes paired games fair and free.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Seeds = NDArray[np.uint64]

LANES: Final = 4
"""A 64-bit hash gives four uniforms of 16 bits: enough for a roll or a few per cent of noise on a hit."""

# Increment and multipliers of SplitMix64 (Steele, Lea, Flood 2014); the tick takes a second odd constant.
_SEED = np.uint64(0x9E3779B97F4A7C15)
_TICK = np.uint64(0xD6E8FEB86659FD93)
_BLOCK = np.uint64(0xA24BAED4963EE407)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_UNIT = np.float32(2.0**-16)


def uniforms(seed: Seeds, tick: Seeds, blocks: int) -> Floats:
    """Independent uniforms in [0, 1) for each fight, shape (4 * blocks, fights); all arithmetic is modulo 2**64."""
    offsets = np.arange(1, blocks + 1, dtype=np.uint64)[:, None] * _BLOCK
    z = seed * _SEED + tick * _TICK + offsets
    z ^= z >> np.uint64(30)
    z *= _MIX_1
    z ^= z >> np.uint64(27)
    z *= _MIX_2
    z ^= z >> np.uint64(31)
    lanes = z.astype("<u8", copy=False).view("<u2").reshape(blocks, -1, LANES)
    spread: Floats = lanes.transpose(0, 2, 1).astype(np.float32, order="C").reshape(LANES * blocks, -1)
    spread *= _UNIT
    return spread
