"""A hundred thousand odd requests against a real server: no fault, nothing told of its insides, right answers after it.

python -m tests.proofs.server_fuzz [--requests 100000] [--seed 7]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from supervisor.serving.options import ServerOptions
from tests.support import onnx_models as models
from tests.support.fuzzing import Fuzzing
from tests.support.served_folder import TARGET, ServedFolder
from tests.support.server_process import ServerProcess

STATES = np.random.default_rng(3).standard_normal((4, models.STATE)).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = ServedFolder(Path(scratch) / "run")
        folder.promote(models.mlp(1))
        with ServerProcess(folder.path, ServerOptions(port=0, max_body_kb=256)) as server:
            process = psutil.Process(server.process.pid)
            Fuzzing(server.port, str(folder.path), options.seed - 1).send(1000)
            before_mb, began_s = process.memory_info().rss / 2**20, time.monotonic()
            fuzzing = Fuzzing(server.port, str(folder.path), options.seed)
            fuzzing.send(options.requests)
            took_s, after_mb = time.monotonic() - began_s, process.memory_info().rss / 2**20
            answer = server.post(f"/infer/{TARGET}", {"states": STATES.tolist()}).body
            np.testing.assert_allclose(
                answer["outputs"]["q_values"], models.mlp_values(1, STATES), rtol=1e-3, atol=1e-4
            )
    told = ", ".join(f"{count:,} x {status}" for status, count in sorted(fuzzing.statuses.items()))
    print(f"{options.requests:,} requests in {took_s:.0f} s: {told}; {fuzzing.closed:,} connections closed unanswered")
    print(f"memory of the server: {before_mb:.0f} MB before, {after_mb:.0f} MB after")


if __name__ == "__main__":
    main()
