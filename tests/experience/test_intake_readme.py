"""Everything that supervisor/experience/README.md has people type, typed where a server runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.experience.intake.json_row import FIELDS
from supervisor.experience.intake.options import IntakeOptions
from tests.support import onnx_models as models
from tests.support.processes import ROOT
from tests.support.served_folder import ServedFolder
from tests.support.server_process import ServerProcess
from tests.support.shell import shell

README = (ROOT / "supervisor" / "experience" / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```\n", README, re.DOTALL)
LINES, FRAME = (text for language, text in BLOCKS if language == "bash")
ROW, ANSWER = (json.loads(text) for language, text in BLOCKS if language == "json")
MAKES_A_FRAME, PLAYS = (text for language, text in BLOCKS if language == "python")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = ServedFolder(tmp_path_factory.mktemp("served") / "run")
    folder.promote(models.mlp(1))
    with ServerProcess(folder.path, taking=IntakeOptions(commit_ms=0)) as server:
        yield server


def here(text: str, server: ServerProcess) -> str:
    return text.replace("localhost:8080", f"127.0.0.1:{server.port}")


def python(text: str, server: ServerProcess, place: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", here(text, server)],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_lines_are_taken_as_the_readme_says_and_told_as_it_shows(server: ServerProcess, tmp_path: Path) -> None:
    good = {**ROW, "state": [0.5] * 64, "next_state": [0.5] * 64}
    (tmp_path / "steps.ndjson").write_text("\n".join(json.dumps(row) for row in (good, ROW, good)))
    assert json.loads(shell(here(LINES, server), tmp_path)) == ANSWER
    assert json.loads(shell(here(LINES, server), tmp_path)) == {**ANSWER, "repeated": True}
    assert set(ROW) == FIELDS


def test_a_frame_is_made_and_taken_as_the_readme_says(server: ServerProcess, tmp_path: Path) -> None:
    python(MAKES_A_FRAME, server, tmp_path)
    assert json.loads(shell(here(FRAME, server), tmp_path))["accepted"] == 99


def test_a_game_plays_as_the_readme_says(server: ServerProcess, tmp_path: Path) -> None:
    assert python(PLAYS, server, tmp_path) == "1000 {}\n"


def test_every_module_of_the_intake_is_in_the_readme() -> None:
    modules = {path.stem for path in (ROOT / "supervisor/experience/intake").glob("[!_]*.py")}
    assert modules <= set(re.findall(r"`(\w+)`", README))
