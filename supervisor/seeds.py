"""Every random choice of a run is derived here, from names and numbers alone."""

from __future__ import annotations

import hashlib


def derive_seed(run_seed: int, purpose: str, target: str, iteration: int, index: int = 0) -> int:
    """A seed in [0, 2**52): exact in JSON, in a double and in a signed 64-bit integer of any language.

    Games of one phase use consecutive seeds from it, so the range leaves room above (base + games < 2**53).
    The fields are length-prefixed so that no two different tuples spell the same text.
    """
    fields = (str(run_seed), purpose, target, str(iteration), str(index))
    text = "".join(f"{len(field)}:{field}" for field in fields)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 12
