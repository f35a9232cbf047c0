"""NVIDIA's Triton, as the nvidia-pytriton wheel brings it, started directly with models of its Python backend.

The wheel's own way in hands each request to a second Python process, and does not start where the interpreter's library
is of another patch version than its modules; the backend itself needs neither.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.foreign_server import Command

PROGRAM = Path(__file__).with_name("triton_model.py")

_CONFIG = """\
backend: "python"
max_batch_size: {max_rows}
input [ {inputs} ]
output [ {outputs} ]
instance_group [ {{ kind: KIND_CPU count: 1 }} ]
dynamic_batching {{ }}
"""
_TENSOR = '{{ name: "{name}" data_type: {kind} dims: [ {sizes} ] }}'


@dataclass(frozen=True)
class TritonModel:
    """`inputs` and `outputs`: sizes without the rows, by name. All tensors are of one `kind`."""

    name: str
    model: Path  # the ONNX file
    inputs: Mapping[str, Sequence[int]]
    outputs: Mapping[str, Sequence[int]]
    version: int = 1
    kind: str = "TYPE_FP32"

    def write(self, repository: Path, max_rows: int) -> None:
        folder = repository / self.name
        (folder / str(self.version)).mkdir(parents=True)
        shutil.copy(PROGRAM, folder / str(self.version) / "model.py")
        shutil.copy(self.model, folder / str(self.version) / "model.onnx")
        inputs, outputs = self._tensors(self.inputs), self._tensors(self.outputs)
        config = _CONFIG.format(max_rows=max_rows, inputs=inputs, outputs=outputs)
        (folder / "config.pbtxt").write_text(config)

    def _tensors(self, sides: Mapping[str, Sequence[int]]) -> str:
        return ", ".join(
            _TENSOR.format(name=name, kind=self.kind, sizes=", ".join(map(str, sizes))) for name, sizes in sides.items()
        )


def triton(
    venv: Path, scratch: Path, models: Sequence[TritonModel], port: int, max_rows: int, *options: str
) -> Command:
    """How it is started. `venv`: where the wheel is installed. Raises OSError or StopIteration where it is not."""
    packages = next(venv.glob("lib/python3*/site-packages"))
    wheel = packages / "pytriton" / "tritonserver"
    for model in models:
        model.write(scratch / "models", max_rows)
    backends = scratch / "backends"
    shutil.copytree(wheel / "backends", backends)
    # The stub for this interpreter's version is looked for beside the backend only.
    version = packages.parent.name.removeprefix("python")
    shutil.copy(wheel / "python_backend_stubs" / version / "triton_python_backend_stub", backends / "python")
    folders = ("--model-repository", scratch / "models", "--backend-directory", backends)
    address = ("--http-address", "127.0.0.1", "--http-port", str(port), "--allow-grpc=false", "--allow-metrics=false")
    environment = {
        "LD_LIBRARY_PATH": str(packages / "nvidia_pytriton.libs"),
        "PATH": f"{venv / 'bin'}:/usr/bin:/bin",  # where the stub looks for its Python's modules
        "PYTHONPATH": str(packages),
    }
    return Command([wheel / "bin" / "tritonserver", *folders, *address, *options], scratch, environment)
