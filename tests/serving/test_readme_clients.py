"""The client programs of README.md, run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.serving.openapi.document import document
from tests.support import onnx_models as models
from tests.support.readme import blocks, commands
from tests.support.served_folder import ServedFolder
from tests.support.server_process import ServerProcess
from tests.support.shell import shell

pytest.importorskip("tritonclient.http.aio")

PROGRAMS = [block.text for block in blocks("python") if block.mark == "client"]


@pytest.mark.parametrize(("number", "says"), [(0, r"v000001 \[\d \d \d\]"), (1, r"\[(\d, ){199}\d\]")])
def test_a_client_of_the_readme_is_answered(tmp_path: Path, number: int, says: str) -> None:
    folder = ServedFolder(tmp_path / "run")
    folder.promote(models.mlp(1))
    with ServerProcess(folder.path) as server:
        program = PROGRAMS[number].replace("localhost:8080", f"127.0.0.1:{server.port}")
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(says + "\n", done.stdout)


def test_the_line_that_lists_the_routes_lists_them(tmp_path: Path) -> None:
    [line] = [line for line in commands() if "/openapi.json" in line]
    with ServerProcess(ServedFolder(tmp_path / "run").path) as server:
        found = shell(line.replace("localhost:8080", f"127.0.0.1:{server.port}"), cwd=tmp_path).splitlines()
    rows = [row.split("\t") for row in found]
    assert ["get", "/health", "Who serves, and from which run folder"] in rows
    paths = document(max_rows=256)["paths"]
    assert [(method, path) for method, path, _ in rows] == [(own, path) for path in paths for own in paths[path]]


def test_there_is_a_test_for_each_of_them() -> None:
    assert len(PROGRAMS) == 2
