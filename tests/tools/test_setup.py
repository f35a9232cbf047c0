"""tools/setup.sh where a service runs it: the folder read-only, no network."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from tests.support.shell import shell

NAMESPACES = ["unshare", "--map-root-user", "--mount", "--net"]


def can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*NAMESPACES, "true"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not can_unshare(), reason="no namespaces for a read-only mount here (unshare)")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """What the stamp is made of, and an environment that only looks set up."""
    (tmp_path / "tools").mkdir()
    for name in ("pyproject.toml", "tools/constraints.txt", "tools/setup.sh"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "incumbent").touch(0o755)
    return tmp_path


def stamp(program: Path, extras: str = "") -> None:
    text = (program / "tools" / "setup.sh").read_text()
    function = text[text.index("stamp_of() {") : text.index("\n}\n", text.index("stamp_of() {")) + 3]
    (program / ".venv" / "stamp").write_text(shell(f"{function}stamp_of '{extras}'", cwd=program))


def set_up_read_only(program: Path) -> subprocess.CompletedProcess[str]:
    read_only = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && ! touch "$1/x" 2>/dev/null'
    line = f'{read_only} && exec "$1/tools/setup.sh"'
    return subprocess.run(
        [*NAMESPACES, "sh", "-c", line, "sh", str(program)], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("extras", ["", "dev"])
def test_what_is_set_up_needs_neither_writing_nor_a_network(program: Path, extras: str) -> None:
    stamp(program, extras)
    done = set_up_read_only(program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_is_not_set_up_and_cannot_be_is_said_in_one_line_and_final(program: Path) -> None:
    stamp(program)
    with (program / "pyproject.toml").open("a") as changed:
        changed.write("\n")
    done = set_up_read_only(program)
    assert done.returncode == 2
    assert done.stderr == (
        f"setup: .venv is missing or older than the program, and {program} cannot be written;"
        f" run {program}/tools/setup.sh once as its owner\n"
    )
