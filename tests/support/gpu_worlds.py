"""Machines with a GPU for tests: a stand-in for NVIDIA's library that tests steer, and the real thing where it is."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pynvml
import pytest

from tests.support.gpu_memory import STAND_IN_NAME
from tests.support.processes import ROOT

SOURCE = Path(__file__).with_name("nvml_stand_in.c")
TOTAL_MB = 8192


def build_library(folder: Path) -> Path:
    """The stand-in as a shared library that the loader finds under NVIDIA's name. Skips without a C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build the stand-in for NVIDIA's library with")
    library = folder / "libnvidia-ml.so.1"
    flags = ("-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-Wl,-soname,libnvidia-ml.so.1")
    subprocess.run([compiler, *flags, "-o", str(library), str(SOURCE)], check=True)
    return library


@dataclass
class StandIn:
    """`gpus`: (uuid, MB in all, MB that others hold, code that its process list answers) in the order of the driver."""

    library: Path
    state: Path
    gpus: list[tuple[str, int, int, int]] = field(default_factory=lambda: [("GPU-one", TOTAL_MB, 0, 0)])
    total_mb: int = TOTAL_MB

    def __post_init__(self) -> None:
        (self.state / "claims").mkdir(parents=True)
        self.tell(*self.gpus)

    @property
    def environ(self) -> dict[str, str]:
        path = os.pathsep.join(filter(None, [str(self.library.parent), os.environ.get("LD_LIBRARY_PATH")]))
        return {"LD_LIBRARY_PATH": path, STAND_IN_NAME: str(self.state), "CUDA_VISIBLE_DEVICES": "0"}

    def tell(self, *gpus: tuple[str, int, int, int]) -> None:
        pending = self.state / "new-gpus"
        pending.write_text("".join(f"{uuid} {total} {used} {code}\n" for uuid, total, used, code in gpus))
        pending.rename(self.state / "gpus")

    def others_hold(self, mb: int) -> None:
        self.tell(("GPU-one", TOTAL_MB, mb, 0))

    def fail(self, code: int) -> None:
        """Every call answers with the code; 0 ends that."""
        error = self.state / "error"
        if code == 0:
            error.unlink()
        else:
            error.write_text(f"{code}\n")

    def close(self) -> None:
        pass


class RealGpu:
    """What other programs hold is held by processes that no probe knows."""

    def __init__(self) -> None:
        self.environ: dict[str, str] = {"CUDA_VISIBLE_DEVICES": "0"}
        try:
            pynvml.nvmlInit()
            memory = pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0))
        except pynvml.NVMLError as error:
            pytest.skip(f"no GPU here: {error}")
        self.total_mb = memory.total // 2**20
        if memory.used > memory.total / 20:
            pytest.skip("the GPU is in use")
        self._holder: subprocess.Popen[bytes] | None = None

    def others_hold(self, mb: int) -> None:
        self.close()
        self._holder = subprocess.Popen(
            [sys.executable, "-m", "tests.support.gpu_memory", str(mb)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline(), "the GPU's memory could not be taken"

    def close(self) -> None:
        if self._holder is not None:
            self._holder.communicate()
            self._holder = None


@contextlib.contextmanager
def probing(environ: dict[str, str]) -> Iterator[Probe]:
    """A process that looks at the GPU of this environment."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.gpu_probe"],
        cwd=ROOT,
        env={**os.environ, **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Probe(process)
        assert process.stdin is not None
        process.stdin.close()
    assert process.returncode == 0


@dataclass
class Probe:
    """See `gpu_probe` for the questions."""

    process: subprocess.Popen[str]

    def ask(self, *question: object) -> str:
        """The answer's repr; the probe's own traceback is on stderr when it has none."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(*question, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()
