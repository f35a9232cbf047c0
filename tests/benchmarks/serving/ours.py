"""Our server, as `incumbent serve` starts it, and the server that does nothing."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from supervisor.serving.options import ServerOptions
from tests.benchmarks.serving import subject
from tests.benchmarks.serving.running import Running
from tests.support.foreign_server import NotAnsweredError
from tests.support.served_folder import TARGET, ServedFolder
from tests.support.server_process import ServerProcess


def targets(models: int) -> list[str]:
    """The first is TARGET."""
    model_type = TARGET.split("/")[1]
    return [TARGET, *(f"archetype_{number}/{model_type}" for number in range(2, models + 1))]


@contextlib.contextmanager
def our_server(models: int = 1) -> Iterator[Running]:
    """That many models of one shape and different weights. Raises NotAnsweredError."""
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        folder = ServedFolder(Path(scratch) / "run")
        for number, target in enumerate(targets(models)):
            folder.promote(subject.onnx_bytes(subject.SEED + number), target)
        try:
            server = stack.enter_context(ServerProcess(folder.path, ServerOptions(port=0)))
        except AssertionError as error:
            raise NotAnsweredError(f"does not start: {' '.join(str(error).split())[:200]}") from error
        yield Running(server.port, server.process.pid)
        try:
            stack.close()
        except AssertionError as error:  # what it wrote to its error output: to be seen, not to end the benchmark
            print(f"  {' '.join(str(error).split())[:300]}")


@contextlib.contextmanager
def nothing_server(request_length: int) -> Iterator[Running]:
    command = [sys.executable, "-m", "tests.benchmarks.serving.ceiling", str(request_length)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Running(int(process.stdout.readline()), process.pid)
        finally:
            process.kill()
