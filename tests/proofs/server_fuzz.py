"""A hundred thousand odd requests against a real server: no fault, nothing told of its insides, right answers after it.
Or as many that its OpenAPI document allows, and the same bent: every answer is one that the document describes.

python -m tests.proofs.server_fuzz [--requests 100000 | --openapi 20000] [--seed 7]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil

from supervisor.serving.options import ServerOptions
from tests.support import onnx_models as models
from tests.support.fuzzing import Fuzzing
from tests.support.openapi_fuzzing import OpenApiFuzzing
from tests.support.served_folder import TARGET, ServedFolder
from tests.support.server_process import ServerProcess

STATES = np.random.default_rng(3).standard_normal((4, models.STATE)).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--openapi", type=int, metavar="N", help="N requests drawn from the document instead")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = ServedFolder(Path(scratch) / "run")
        folder.promote(models.mlp(1))
        for seed in (2, 3):
            folder.promote(models.mlp(seed), "mage/combat_dqn")
        with ServerProcess(folder.path, ServerOptions(port=0, max_body_kb=256)) as server:
            process = psutil.Process(server.process.pid)
            Fuzzing(server.port, str(folder.path), options.seed - 1).send(1000)
            before_mb, began_s = process.memory_info().rss / 2**20, time.monotonic()
            if options.openapi:
                statuses, closed = from_the_document(server, options.openapi, options.seed), 0
            else:
                fuzzing = Fuzzing(server.port, str(folder.path), options.seed)
                fuzzing.send(options.requests)
                statuses, closed = fuzzing.statuses, fuzzing.closed
            took_s, after_mb = time.monotonic() - began_s, process.memory_info().rss / 2**20
            answer = server.post(f"/infer/{TARGET}", {"states": STATES.tolist()}).body
            np.testing.assert_allclose(
                answer["outputs"]["q_values"], models.mlp_values(1, STATES), rtol=1e-3, atol=1e-4
            )
    told = ", ".join(f"{count:,} x {status}" for status, count in sorted(statuses.items()))
    asked = statuses.total() + closed
    print(f"{asked:,} requests in {took_s:.0f} s: {told}; {closed:,} connections closed unanswered")
    print(f"memory of the server: {before_mb:.0f} MB before, {after_mb:.0f} MB after")


def from_the_document(server: ServerProcess, requests: int, seed: int) -> Counter[int]:
    """How many were answered with which status."""
    document = server.get("/openapi.json").body
    fuzzing = OpenApiFuzzing(server.port, document)
    try:
        fuzzing.every_operation(requests, seed)
    finally:
        fuzzing.close()
    return fuzzing.statuses


if __name__ == "__main__":
    main()
