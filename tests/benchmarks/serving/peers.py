"""The other servers: what is installed for each, and how each is started.

Each has a virtual environment of its own, thrown away afterwards; their requirements contradict each other and ours.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.serving import subject
from tests.benchmarks.serving.form import BENTOML, LITSERVE, OIP_BINARY, OIP_JSON, Form
from tests.benchmarks.serving.running import Running
from tests.support.foreign_server import Command, NotAnsweredError, free_ports, started
from tests.support.triton import TritonModel, triton

PROGRAMS = Path(__file__).parent / "peer_programs"
TARGET = "mlp/1"  # a model called mlp.1 where the form asks for one
MODEL = "mlp.1"
ONNXRUNTIME = "onnxruntime==1.31.1"


@dataclass(frozen=True)
class Place:
    """Where a peer is started."""

    venv: Path
    scratch: Path
    model: Path  # the ONNX file
    ports: list[int]  # the first is for HTTP

    def program(self, name: str) -> Path:
        return self.venv / "bin" / name


@dataclass(frozen=True)
class Peer:
    name: str
    title: str
    requirements: tuple[str, ...]
    forms: tuple[Form, ...]
    command: Callable[[Place], Command]

    def install(self, folder: Path) -> None:
        """Into `folder/name`, made anew. Raises CalledProcessError."""
        shutil.rmtree(folder / self.name, ignore_errors=True)
        venv.create(folder / self.name, with_pip=True)
        command = [folder / self.name / "bin" / "pip", "install", "-qq", *self.requirements]
        subprocess.run([str(part) for part in command], check=True)

    @contextlib.contextmanager
    def server(self, folder: Path) -> Iterator[Running]:
        """Raises NotAnsweredError."""
        place = (folder / self.name).absolute()
        if not place.is_dir():
            raise NotAnsweredError(f"not installed in {folder}")
        with tempfile.TemporaryDirectory() as scratch:
            model = Path(scratch) / "model.onnx"
            model.write_bytes(subject.onnx_bytes())
            ports = free_ports(3)
            try:
                command = self.command(Place(place, Path(scratch), model, ports))
            except (OSError, StopIteration) as error:
                raise NotAnsweredError(f"not installed whole in {folder}: {error!r}") from error
            first = Running(ports[0], 0)
            with started(command, lambda: first.check(self.forms[0], TARGET, rows=1)) as pid:
                yield Running(ports[0], pid)


def _litserve(place: Place) -> Command:
    program = PROGRAMS / "litserve_program.py"
    return Command([place.program("python"), program, place.model, str(place.ports[0])], place.scratch)


def _mlserver(place: Place) -> Command:
    http, grpc, metrics = place.ports
    settings = {
        "host": "127.0.0.1",
        "http_port": http,
        "grpc_port": grpc,
        "metrics_port": metrics,
        "parallel_workers": 0,  # in the server's own process: the cheapest it can do
        "debug": False,
    }
    model = {
        "name": MODEL,
        "implementation": "mlserver_runtime.OnnxModel",
        "parameters": {"uri": str(place.model)},
    }
    (place.scratch / "settings.json").write_text(json.dumps(settings))
    (place.scratch / "model-settings.json").write_text(json.dumps(model))
    return Command([place.program("mlserver"), "start", place.scratch], place.scratch, {"PYTHONPATH": str(PROGRAMS)})


def _bentoml(place: Place) -> Command:
    program = (place.program("bentoml"), "serve", "bentoml_service:Mlp", "--working-dir", PROGRAMS)
    address = ("--host", "127.0.0.1", "--port", str(place.ports[0]))
    environment = {
        "ONNX_FILE": str(place.model),
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(place.scratch / "bentoml"),
        "PATH": f"{place.venv / 'bin'}:/usr/bin:/bin",
    }
    return Command([*program, *address], place.scratch, environment)


def _triton(place: Place) -> Command:
    model = TritonModel(MODEL, place.model, {subject.INPUT: [64]}, {subject.OUTPUT: [10]})
    return triton(place.venv, place.scratch, [model], place.ports[0], max_rows=128)


# The newest versions that worked together in November 2026.
PEERS = (
    Peer("litserve", "LitServe", ("litserve==0.2.19", ONNXRUNTIME), (LITSERVE,), _litserve),
    Peer("mlserver", "MLServer", ("mlserver==1.7.1", ONNXRUNTIME), (OIP_JSON,), _mlserver),
    Peer("bentoml", "BentoML", ("bentoml==1.4.39", ONNXRUNTIME), (BENTOML,), _bentoml),
    Peer("triton", "Triton", ("nvidia-pytriton==0.7.0", ONNXRUNTIME), (OIP_JSON, OIP_BINARY), _triton),
)
