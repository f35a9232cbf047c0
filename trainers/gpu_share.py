"""A trial keeps to its share of the GPU's memory: beyond it torch says out of memory, to this trial alone."""

from __future__ import annotations

import os

SHARE_NAME = "INCUMBENT_VRAM_FRACTION"  # set by the executor where there is a GPU


def keep_to_share() -> None:
    """Takes effect when torch first uses the GPU: a trial that never does opens no context there for it."""
    share = os.environ.get(SHARE_NAME)
    if share is None:
        return
    import torch

    torch.cuda._lazy_call(lambda: torch.cuda.set_per_process_memory_fraction(float(share)))
