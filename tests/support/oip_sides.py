"""The two servers that `oip_exchanges` are asked of: a real Triton and ours, with the same three models."""

from __future__ import annotations

import contextlib
import http.client
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from supervisor.contract import Interface
from supervisor.serving.options import ServerOptions
from tests.support import onnx_models as models
from tests.support.foreign_server import NotAnsweredError, free_ports, started
from tests.support.oip_exchanges import HALF, MAX_ROWS, ONE, TWO, VERSIONS
from tests.support.served_folder import ServedFolder
from tests.support.server_process import ServerProcess
from tests.support.triton import TritonModel, triton


def served() -> dict[str, tuple[bytes, Interface]]:
    """By name, in the order of their versions."""
    half = models.mlp(7, kind=np.float16)
    return {ONE: (models.mlp(1), models.INTERFACE), TWO: models.two_inputs(), HALF: (half, models.INTERFACE)}


@contextlib.contextmanager
def our_side(folder: Path) -> Iterator[int]:
    """Its port."""
    run = ServedFolder(folder)
    for name, (model, interface) in served().items():
        run.promote(model, name.replace(".", "/"), interface)
    with ServerProcess(run.path, ServerOptions(port=0, max_rows=MAX_ROWS)) as server:
        yield server.port


@contextlib.contextmanager
def triton_side(venv: Path) -> Iterator[int]:
    """Its port. Raises NotAnsweredError where it is not installed, or does not start."""
    if not venv.is_dir():
        raise NotAnsweredError(f"not installed in {venv.parent}; the serving benchmark's --install-peers does it")
    with tempfile.TemporaryDirectory() as scratch:
        (port,) = free_ports(1)
        try:
            made = [_triton_model(Path(scratch), name) for name in served()]
            explicit = ("--model-control-mode=explicit", "--load-model=*")
            command = triton(venv.absolute(), Path(scratch), made, port, MAX_ROWS, *explicit)
        except (OSError, StopIteration) as error:
            raise NotAnsweredError(f"not installed whole in {venv.parent}: {error!r}") from error
        with started(command, lambda: _check_ready(port)):
            yield port


def _triton_model(scratch: Path, name: str) -> TritonModel:
    model, interface = served()[name]
    file = scratch / f"{name}.onnx"
    file.write_bytes(model)
    inputs, outputs = (
        {tensor: shape[1:] for tensor, shape in side.items()} for side in (interface.inputs, interface.outputs)
    )
    return TritonModel(name, file, inputs, outputs, VERSIONS[name], "TYPE_FP16" if name == HALF else "TYPE_FP32")


def _check_ready(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/v2/health/ready")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise NotAnsweredError(f"not answered: {error!r}") from error
    finally:
        connection.close()
    if status != 200:
        raise NotAnsweredError(f"not ready: {status}")
