"""A trial's worker that writes down what torch sees of GPUs in its process."""

from __future__ import annotations

import json
from pathlib import Path

SEEN_NAME = "sight.json"


def main(folder: str) -> int:
    import torch

    from trainers import device

    found = range(torch.cuda.device_count())
    uuids = [f"GPU-{torch.cuda.get_device_properties(number).uuid}" for number in found]
    seen = {"device": str(device.chosen()), "uuids": uuids}
    if uuids and device.chosen().type == device.CUDA:
        seen["sum"] = float(torch.ones(1000, device=device.chosen()).sum())
    (Path(folder) / SEEN_NAME).write_text(json.dumps(seen))
    return 0
