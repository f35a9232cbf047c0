"""How long a server with all 54 models takes to be there, and what memory it then holds.

`python -m tests.benchmarks.cold_start [--scale small|full] [--starts N]` exports an untrained network of every built-in
target, registers them in a run folder and starts the server several times: seconds from its process's start and from
its first look at the folder to the last model loaded, resident memory, and one answer of every model over HTTP.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import psutil

PROGRAM = """
import sys, time
from pathlib import Path
from supervisor.serving.options import ServerOptions
from supervisor.serving import server, session
began_s = time.monotonic()

def announce(line):
    print(f"{time.monotonic() - began_s:.3f} {line}", flush=True)

server.run_server(Path(sys.argv[1]), ServerOptions(port=0), announce)
"""
MANY_S = 600.0


def folder_of_all(base: Path, scale: str) -> tuple[Path, int]:
    """A run folder with an untrained network of every built-in target, and how many there are."""
    import torch

    from supervisor.search.definitions import BUILT_IN, load_definitions
    from tests.support.served_folder import ServedFolder
    from trainers.catalogue import CATALOGUE, model_type
    from trainers.export import interface, onnx_bytes
    from trainers.learner import Case
    from trainers.parameters import fields, group

    torch.set_num_threads(1)
    served = ServedFolder(base / "run")
    targets = load_definitions([BUILT_IN], [f"*/{name}" for name in _known(CATALOGUE)], scale)
    for key, definition in targets.items():
        archetype, name = key.split("/")
        params = definition.defaults()
        rewards = group(params, "reward")
        kind = model_type(name)
        args = fields(kind.args, kind.names, {it: value for it, value in params.items() if it not in rewards})
        exported = kind.learner(Case(archetype, 1, rewards), args, 1, len(served.active), None).exported()
        served.promote(onnx_bytes(exported), key, interface(exported))
    return served.path, len(targets)


def _known(names: Any) -> list[str]:
    """Those that have a search space."""
    from supervisor.search.definitions import BUILT_IN

    return [name for name in names if (BUILT_IN / "models" / f"{name}.yaml").exists()]


def start(run_dir: Path, models: int) -> tuple[float, float, float]:
    """Seconds from the process's start, seconds from the first look at the folder, MB held."""
    began_s = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(run_dir)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            inside, _, said = line.partition(" ")
            if said.startswith(f"serving {models} models"):
                whole_s = time.perf_counter() - began_s
                _ask_all(said.split()[-1])
                return whole_s, float(inside), psutil.Process(process.pid).memory_info().rss / 2**20
            if "refused" in said:
                print(said.strip())
        raise RuntimeError(f"the server left with {process.wait()}")
    finally:
        process.terminate()
        process.communicate()


def _ask_all(url: str) -> None:
    """Every model answers a row of zeros."""
    import httpx2

    with httpx2.Client(base_url=url, timeout=MANY_S) as client:
        for model in client.get("/models").json()["models"]:
            inputs = {name: [_zeros(shape[1:])] for name, shape in model["inputs"].items()}
            answer = client.post(f"/infer/{model['archetype']}/{model['model_type']}", json={"inputs": inputs})
            assert answer.status_code == 200, answer.text
            assert set(answer.json()["outputs"]) == set(model["outputs"])


def _zeros(shape: list[int]) -> Any:
    return 0.0 if not shape else [_zeros(shape[1:]) for _ in range(shape[0])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=["small", "full"], default="small")
    parser.add_argument("--starts", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as base:
        run_dir, models = folder_of_all(Path(base), options.scale)
        size = sum(path.stat().st_size for path in (run_dir / "models").glob("*.onnx")) / 2**20
        print(f"{models} models, {size:.1f} MB of files, scale {options.scale}")
        found = [start(run_dir, models) for _ in range(options.starts)]
        for name, values in zip(("process start", "loading", "memory"), zip(*found, strict=True), strict=True):
            unit = "MB" if name == "memory" else "s"
            print(f"{name:14} median {statistics.median(values):7.2f} {unit}, worst {max(values):7.2f} {unit}")


if __name__ == "__main__":
    main()
