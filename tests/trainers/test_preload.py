from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from supervisor.execution.forkserver import NO_GPUS

FORK = """
import json, os, sys
import trainers.preload
modules = set(sys.modules)
said = {"threads": len(os.listdir("/proc/self/task")), "onnxruntime": "onnxruntime" in modules}
reading, writing = os.pipe()
pid = os.fork()
if pid == 0:
    from pathlib import Path
    from tests.support.arena_trials import small_spec
    from trainers.arena_target import ArenaTarget
    from trainers.single import Undisturbed
    spec = small_spec(rows=8)
    before = set(sys.modules)
    folder = Path(sys.argv[1])
    learner = ArenaTarget(spec, folder, Undisturbed()).build(spec.params, folder)
    os.write(writing, json.dumps(sorted(name for name in set(sys.modules) - before if "torch" in name)).encode())
    os._exit(0)
os.close(writing)
os.waitpid(pid, 0)
said["imported late"] = json.loads(os.read(reading, 1_000_000))
print(json.dumps(said))
"""


CUDA_BUILD = """
import torch

def is_available():  # of a build with CUDA, as torch's own reads
    if torch.cuda._nvml_based_avail() and not torch.cuda._parse_visible_devices():
        return False
    raise SystemExit("CUDA was started")

torch.cuda.is_available = is_available
torch.accelerator.current_accelerator = lambda check_available=False: (
    torch.device("cuda") if not check_available or torch.cuda.is_available() else None
)
import trainers.preload
print("imported")
"""


def test_what_is_imported_before_the_forks_does_not_start_cuda_where_no_gpu_is_in_sight() -> None:
    """With CUDA started no fork could use it."""

    def imported(**environ: str) -> str:
        environment = {**os.environ, "PYTHONPATH": os.getcwd(), **environ}
        command = [sys.executable, "-c", CUDA_BUILD]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).strip().splitlines()[-1]

    assert imported(**NO_GPUS) == "imported"
    assert imported(CUDA_VISIBLE_DEVICES="0", PYTORCH_NVML_BASED_CUDA_CHECK="0") == "CUDA was started"


def test_a_fork_of_the_preloaded_process_trains_and_imports_no_more_of_torch(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-c", FORK, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"threads": 1, "onnxruntime": False, "imported late": []}
