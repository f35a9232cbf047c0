"""One measurement: the load generator against a running server."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict

from tests.benchmarks.serving.generator import Met, Spec
from tests.benchmarks.serving.running import Running
from tests.support.foreign_server import NotAnsweredError


def load(
    server: Running, requests: Sequence[bytes], connections: int, seconds: float, rate_per_s: float | None = None
) -> Met:
    """Raises NotAnsweredError where the generator cannot do its work."""
    written = [base64.b64encode(request).decode() for request in requests]
    spec = Spec(server.port, written, connections, seconds, rate_per_s=rate_per_s, pids=server.pids())
    command = [sys.executable, "-m", "tests.benchmarks.serving.generator"]
    done = subprocess.run(command, input=json.dumps(asdict(spec)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotAnsweredError(f"the load generator failed: {(done.stderr.splitlines() or ['silent'])[-1][:200]}")
    met = Met(**json.loads(done.stdout))
    if not met.answered:
        raise NotAnsweredError(f"answered none of the load: {met.first_failure[:160]!r}")
    return met
