"""The script with the real program in a real tmux session: started, looked at, interrupted with the keyboard."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import NoopFolder
from tests.support.processes import ROOT, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]


# Says the exit code on the screen and stays: tmux 3.3 does not always notice that a pane's program has ended.
KEPT = ("sh", "-c", 'trap : INT; "$@"; echo "exit code: $?"; exec sleep 600', "kept")


class Session:
    """A tmux server of its own with one window, which stays when its program has ended."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "tmux"

    def tmux(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self._socket), "-f", os.devnull, *arguments],
            capture_output=True,
            text=True,
            check=check,
            timeout=30,
            env={**os.environ, "TERM": "screen"},
        )
        return done.stdout

    def begin(self, *command: str) -> None:
        self.tmux("new-session", "-d", "-x", "200", "-y", "50", *KEPT, *command)

    def again(self, *command: str) -> None:
        self.tmux("respawn-pane", "-k", *KEPT, *command)

    def screen(self) -> str:
        return self.tmux("capture-pane", "-p", "-S", "-200")

    def exit_code(self) -> str:
        """Empty while the program runs."""
        found = re.search(r"^exit code: (\d+)$", self.screen(), re.MULTILINE)
        return found[1] if found else ""


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    made = Session(tmp_path)
    yield made
    made.tmux("kill-server", check=False)  # it may have ended with its last session


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """In a tree of its own with the real program, so that nothing is set up."""
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "start_training.sh", tmp_path / "tools")
    (tmp_path / "tools" / "setup.sh").write_text("#!/bin/sh\n")
    (tmp_path / "tools" / "setup.sh").chmod(0o755)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    return tmp_path / "tools" / "start_training.sh"


def test_ctrl_c_in_tmux_saves_and_drains_and_the_same_command_goes_on(
    session: Session, script: Path, finished_run: NoopFolder, tmp_path: Path
) -> None:
    folder = finished_run.copy(tmp_path)
    command = (str(script), "--run-dir", str(folder.run_dir), *folder.flags)
    session.begin(*command)
    wait_for("an iteration in tmux", lambda: "  #14 " in session.screen() or session.exit_code() != "")
    session.tmux("send-keys", "C-c")
    wait_for("the script's end", lambda: session.exit_code() != "", timeout_s=60)
    assert session.exit_code() == "0", session.screen()
    seen = session.screen()
    assert "the same command goes on from here" in seen
    assert "the server is stopped; to serve alone: " in seen
    done = len(folder.lines())

    session.again(*command)
    wait_for("it goes on", lambda: f"iteration {done}, best win rate" in session.screen())
    session.tmux("kill-session")  # as a closed terminal: SIGHUP
    wait_for("its end is written", lambda: "Saved at iteration" in last_console_log(folder.run_dir), timeout_s=60)


def last_console_log(run_dir: Path) -> str:
    return max(run_dir.glob("training_*.log"), key=lambda path: path.stat().st_mtime_ns).read_text()
