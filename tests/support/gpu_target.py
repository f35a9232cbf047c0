"""A no-op target whose trials take what the file `take` beside the run folder's search spaces says of a GPU.

Lines of `<iteration> <MB> <seconds>`: the trial of that iteration holds so many MB for so long.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from supervisor.contract import Params
from tests.support.gpu_memory import hold
from tests.support.noop import NoopTarget
from trainers.target import Built

TAKE_NAME = "TEST_GPU_TAKE"
SEEN_NAME = "TEST_GPU_SEEN"  # a file that takes a line per trial: which GPU it sees, and its share
CHECK_S = 0.05


class GpuTarget(NoopTarget):
    def build(self, params: Params, work: Path) -> Built:
        if SEEN_NAME in os.environ:
            visible, share = os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("INCUMBENT_VRAM_FRACTION")
            with Path(os.environ[SEEN_NAME]).open("a") as seen:
                seen.write(f"{self._spec.iteration} {visible} {share}\n")
        for line in Path(os.environ[TAKE_NAME]).read_text().splitlines():
            iteration, mb, seconds = line.split()
            if int(iteration) == self._spec.iteration:
                self._take(int(mb), float(seconds))
        return super().build(params, work)

    def _take(self, mb: int, seconds: float) -> None:
        hold(mb)
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self._control.beat(0)
            self._control.check()
            time.sleep(CHECK_S)
