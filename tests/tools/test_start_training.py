"""tools/start_training.sh keeps a supervisor and a server alive, and ends with them, whatever ends first."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import ROOT, wait_for

# Does what the test wrote for this start: a number is the exit code, `stay` waits for signals, of which INT and TERM
# end it with 0, `stubborn` outlives the first. A `sleep` in the tree's bin does not sleep, but says for how long.
PROGRAM = """\
#!{python}
import os, signal, sys
from pathlib import Path

here = Path({here!r})
kind = sys.argv[1]
ours = len(list(here.glob(kind + ".*.started"))) + 1
mine = here / f"{{kind}}.{{ours}}"
plan = here.joinpath(kind + ".plan").read_text().split()
todo = plan[min(ours, len(plan)) - 1]
got = []

def note(number, frame):
    got.append(signal.Signals(number).name)
    mine.with_name(mine.name + ".signals").write_text(" ".join(got))
    if todo == "stay":
        os._exit(0)
    if len(got) == 2:
        os._exit(130)

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, note)
started = mine.with_name(mine.name + ".started")
started.with_suffix(".new").write_text(f"{{os.getpid()}} " + " ".join(sys.argv[1:]))
started.with_suffix(".new").rename(started)
if todo.isdigit():
    os._exit(int(todo))
while True:
    signal.pause()
"""
NO_SLEEP = """\
#!/bin/sh
echo "$1" >>"{here}/pauses"
[ -e "{here}/long" ] && exec {sleep} 600
exit 0
"""


class Tree:
    """A copy of the script in a tree of its own, with programs that only pretend."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.process: subprocess.Popen[str] | None = None
        (root / "tools").mkdir()
        (root / "bin").mkdir()
        (root / ".venv" / "bin").mkdir(parents=True)
        shutil.copy(ROOT / "tools" / "start_training.sh", root / "tools")
        self._program("tools/setup.sh", "#!/bin/sh\nexit 0\n")
        self._program(".venv/bin/incumbent", PROGRAM.format(python=sys.executable, here=str(root)))
        self._program("bin/sleep", NO_SLEEP.format(here=root, sleep=shutil.which("sleep")))

    def _program(self, name: str, text: str) -> None:
        path = self.root / name
        path.write_text(text)
        path.chmod(0o755)

    def begin(self, *flags: str, run: str, serve: str = "stay") -> None:
        (self.root / "run.plan").write_text(run)
        (self.root / "serve.plan").write_text(serve)
        self.process = subprocess.Popen(
            [str(self.root / "tools" / "start_training.sh"), *flags],
            env={**os.environ, "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def signal(self, number: signal.Signals) -> None:
        """To the script's whole process group, as a terminal does."""
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def end(self) -> tuple[int, str]:
        assert self.process is not None
        said, _ = self.process.communicate(timeout=30)
        return self.process.returncode, said

    def started(self, kind: str, number: int) -> list[str]:
        """Pid and arguments of that start, once it happened."""
        path = self.root / f"{kind}.{number}.started"
        wait_for(f"start {number} of {kind}", path.exists, timeout_s=30)
        return path.read_text().split()

    def starts(self, kind: str) -> int:
        return len(list(self.root.glob(f"{kind}.*.started")))

    def signals(self, kind: str, number: int = 1) -> list[str]:
        path = self.root / f"{kind}.{number}.signals"
        return path.read_text().split() if path.exists() else []

    def pauses(self) -> list[int]:
        path = self.root / "pauses"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()
        for path in self.root.glob("*.started"):
            pid = int(path.read_text().split()[0])
            command = Path(f"/proc/{pid}/cmdline")
            if command.exists() and str(self.root).encode() in command.read_bytes():
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    made = Tree(tmp_path)
    yield made
    made.close()


def test_what_is_tried_again_is_started_again_with_growing_pauses(tree: Tree) -> None:
    tree.begin(run="1 5 75 1 1 1 1 1 0", serve="0")
    code, said = tree.end()
    assert code == 0
    assert tree.starts("run") == 9
    assert tree.pauses() == [1, 2, 4, 8, 16, 32, 60, 60]
    assert "the supervisor left with code 75; it is started again in 4 s" in said


@pytest.mark.parametrize("final", [0, 2, 3, 4, 6, 130])
def test_a_final_exit_code_ends_the_script_with_it(tree: Tree, final: int) -> None:
    tree.begin(run=str(final), serve="0")
    assert tree.end()[0] == final
    assert tree.starts("run") == 1
    assert tree.pauses() == []


def test_an_interrupt_is_handed_on_once_and_the_server_is_drained_after_the_run(tree: Tree) -> None:
    tree.begin(run="stay")
    tree.started("run", 1)
    tree.started("serve", 1)
    tree.signal(signal.SIGINT)
    assert tree.end()[0] == 0
    assert (tree.signals("run"), tree.signals("serve")) == (["SIGINT"], ["SIGTERM"])
    assert (tree.starts("run"), tree.starts("serve")) == (1, 1)


def test_a_second_interrupt_is_handed_on_too(tree: Tree) -> None:
    tree.begin(run="stubborn")
    tree.started("run", 1)
    tree.started("serve", 1)
    tree.signal(signal.SIGINT)
    wait_for("the first arrives", lambda: tree.signals("run") == ["SIGINT"], timeout_s=30)
    assert tree.signals("serve") == []
    tree.signal(signal.SIGINT)
    assert tree.end()[0] == 130
    assert (tree.signals("run"), tree.signals("serve")) == (["SIGINT", "SIGINT"], ["SIGTERM"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_wish_to_terminate_stops_both(tree: Tree, number: signal.Signals) -> None:
    tree.begin(run="stay")
    tree.started("run", 1)
    tree.started("serve", 1)
    assert tree.process is not None
    tree.process.send_signal(number)
    assert tree.end()[0] == 0
    assert (tree.signals("run"), tree.signals("serve")) == (["SIGTERM"], ["SIGTERM"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_child_is_being_started_reaches_it(tree: Tree, number: signal.Signals) -> None:
    """`env` stands between the fork and the program: here it takes its time."""
    gate, passed = tree.root / "gate", tree.root / "passed"
    os.mkfifo(gate)
    tree._program(
        "bin/env",
        f'#!/bin/sh\ncase "$*" in *incumbent\\ run*) echo >{passed}; read line <{gate} ;; esac\n'
        f'exec {shutil.which("env")} "$@"\n',
    )
    tree.begin(run="stay", serve="0")
    wait_for("the child is between fork and program", passed.exists, timeout_s=30)
    assert tree.process is not None
    tree.process.send_signal(number)
    wait_for("the script has taken the signal", lambda: not is_pending(tree.process, number), timeout_s=30)
    gate.write_text("\n")
    code, _ = tree.end()
    assert code in (0, 128 + number)  # the program ended by it, before or after it listened
    assert tree.starts("run") <= 1


def is_pending(process: subprocess.Popen[str] | None, number: int) -> bool:
    assert process is not None
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask >> (number - 1) & 1 for mask in masks)


def test_a_stop_during_the_pause_ends_the_pause(tree: Tree) -> None:
    (tree.root / "long").touch()
    tree.begin(run="75", serve="0")
    wait_for("the pause begins", lambda: tree.pauses() == [1], timeout_s=30)
    tree.signal(signal.SIGINT)
    assert tree.end()[0] == 75
    assert tree.starts("run") == 1


def test_a_server_that_dies_is_started_again_while_the_run_goes_on(tree: Tree) -> None:
    tree.begin(run="stay", serve="1 stay stay")
    os.kill(int(tree.started("serve", 2)[0]), signal.SIGKILL)
    tree.started("serve", 3)
    assert tree.starts("run") == 1
    tree.signal(signal.SIGINT)
    code, said = tree.end()
    assert code == 0
    assert "the server left with code 137; it is started again in 2 s" in said
    assert tree.signals("serve", 3) == ["SIGTERM"]
    assert tree.pauses() == [1, 2]


def test_a_server_that_is_not_needed_is_not_started_again(tree: Tree) -> None:
    tree.begin(run="stay", serve="0")
    tree.started("serve", 1)
    tree.started("run", 1)
    wait_for("the server's keeper has ended too", lambda: not children_of(tree), timeout_s=30)
    tree.signal(signal.SIGINT)
    code, said = tree.end()
    assert (code, tree.starts("serve")) == (0, 1)
    assert "to serve alone" not in said


def children_of(tree: Tree) -> list[str]:
    """Shells of the script other than itself; the programs it started are no shells."""
    assert tree.process is not None
    pids = Path(f"/proc/{tree.process.pid}/task/{tree.process.pid}/children").read_text().split()
    return [pid for pid in pids if b"start_training" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_flags_go_to_the_run_and_the_folder_to_the_server_too(tree: Tree) -> None:
    tree.begin("--run-dir", "some where", "--seed=7", "--config=own.yaml", run="stay")
    serve = tree.started("serve", 1)
    assert tree.started("run", 1)[1:] == ["run", "--run-dir", "some", "where", "--seed=7", "--config=own.yaml"]
    assert serve[1:] == ["serve", "--beside-run", "--run-dir", "some", "where", "--config=own.yaml"]
    tree.signal(signal.SIGINT)
    code, said = tree.end()
    assert code == 0
    assert said.splitlines()[-1].endswith(
        f"to serve alone: {tree.root}/.venv/bin/incumbent serve --run-dir some where --config=own.yaml"
    )


@pytest.mark.parametrize("flag", ["--dry-run", "--help"])
def test_a_plan_and_the_help_start_no_server(tree: Tree, flag: str) -> None:
    tree.begin("--seed", "7", flag, run="0")
    assert tree.end()[0] == 0
    assert tree.started("run", 1)[1:] == ["run", "--seed", "7", flag]
    assert tree.starts("serve") == 0
