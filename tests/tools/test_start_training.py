"""tools/start_training.sh keeps a supervisor and a server alive, and ends with them, whatever ends first."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.support.processes import ROOT, wait_for
from tests.support.service_manager import ServiceManager, is_beat

# Does what the test wrote for this start: a number is the exit code, `75+` leaves a new line in the log first and `75/`
# half a line; `stay` waits for signals, of which INT and TERM end it with 0, `stubborn` outlives the first. A `sleep`
# in the tree's bin does not sleep, but says for how long.
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
if todo[-1] in "+/":
    with Path("checkpoints/training_log.jsonl").open("a") as log:
        log.write(f'{{{{"iteration":{{ours}}}}}}' + "\\n" * (todo[-1] == "+"))
if todo.rstrip("+/").isdigit():
    os._exit(int(todo.rstrip("+/")))
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
        (root / "checkpoints").mkdir()
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

    def begin(self, *flags: str, run: str, serve: str = "stay", **environ: str) -> None:
        (self.root / "run.plan").write_text(run)
        (self.root / "serve.plan").write_text(serve)
        self.process = subprocess.Popen(
            [str(self.root / "tools" / "start_training.sh"), *flags],
            cwd=self.root,
            env={**os.environ, "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}", **environ},
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
        """The script first, or it would start anew what is ended; what it started holds its output open."""
        alive = self.process is not None and self.process.poll() is None
        if self.process is not None and alive:
            os.killpg(self.process.pid, signal.SIGKILL)
        for path in self.root.glob("*.started"):
            pid = int(path.read_text().split()[0])
            if str(self.root).encode() in command_line(pid):
                os.kill(pid, signal.SIGKILL)
        if self.process is not None and alive:
            self.process.communicate()


def command_line(pid: int) -> bytes:
    """Empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    made = Tree(tmp_path)
    yield made
    made.close()


def test_what_is_tried_again_is_started_again_after_pauses_that_double_up_to_ten_minutes(tree: Tree) -> None:
    tree.begin(run="1 5 75 1 1 1 0", serve="0")
    code, said = tree.end()
    assert code == 0
    assert tree.starts("run") == 7
    assert tree.pauses() == [30, 60, 120, 240, 480, 600]
    assert "the supervisor left with code 75; it is started again in 120 s" in said


def test_after_a_new_line_in_the_log_the_pauses_begin_anew_and_half_a_line_is_none(tree: Tree) -> None:
    tree.begin(run="1 1+ 1 1/ 1 1+ 1+ 0", serve="0")
    assert tree.end()[0] == 0
    assert tree.pauses() == [30, 30, 60, 120, 240, 30, 30]


def test_another_run_folders_log_is_looked_at_where_the_flag_says_so(tree: Tree) -> None:
    (tree.root / "checkpoints").rename(tree.root / "else where")
    (tree.root / "checkpoints").symlink_to("else where")
    tree.begin("--run-dir=else where", run="1+ 1 1+ 0", serve="0")
    assert tree.end()[0] == 0
    assert tree.pauses() == [30, 60, 30]


def test_a_log_that_was_moved_away_is_no_progress(tree: Tree) -> None:
    (tree.root / "checkpoints" / "training_log.jsonl").write_text('{"iteration":0}\n')
    move = 'case "$*" in *incumbent\\ run*) [ -e run.1.started ] && rm -f checkpoints/*.jsonl ;; esac'
    tree._program("bin/setsid", f'#!/bin/sh\n{move}\nexec {shutil.which("setsid")} "$@"\n')
    tree.begin(run="1 1 1 0", serve="0")
    assert tree.end()[0] == 0
    assert tree.pauses() == [30, 60, 120]


def test_the_first_pause_can_be_chosen(tree: Tree) -> None:
    tree.begin(run="1 1 0", serve="0", INCUMBENT_RESTART_DELAY_S="7")
    assert tree.end()[0] == 0
    assert tree.pauses() == [7, 14]


@pytest.mark.parametrize("delay", ["0", "007", "soon", "1.5", "-1"])
def test_a_first_pause_that_is_no_number_of_seconds_is_wrong_usage(tree: Tree, delay: str) -> None:
    tree.begin(run="0", INCUMBENT_RESTART_DELAY_S=delay)
    code, said = tree.end()
    assert (code, tree.starts("run")) == (2, 0)
    assert f"INCUMBENT_RESTART_DELAY_S is {delay}; give whole seconds" in said


@pytest.mark.parametrize("final", [0, 2, 3, 4, 6, 130])
def test_a_final_exit_code_ends_the_script_with_it_and_says_why(tree: Tree, final: int) -> None:
    tree.begin(run=str(final), serve="0")
    code, said = tree.end()
    assert code == final
    assert tree.starts("run") == 1
    assert tree.pauses() == []
    assert (f"the supervisor left with code {final}" in said) == (final not in (0, 130))


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


def test_a_servers_keeper_that_is_gone_is_not_signalled_for_its_pid_may_be_a_strangers(tree: Tree) -> None:
    (tree.root / "told").write_text(f'kill() {{ echo "$2" >>{tree.root}/kills; builtin kill "$@"; }}\n')
    tree.begin(run="stay", serve="4", BASH_ENV=str(tree.root / "told"))
    supervisor = int(tree.started("run", 1)[0])
    assert tree.process is not None
    script = psutil.Process(tree.process.pid)
    wait_for("the keeper is gone", lambda: [child.pid for child in script.children()] == [supervisor], timeout_s=30)
    tree.signal(signal.SIGTERM)
    assert tree.end()[0] == 0
    assert (tree.root / "kills").read_text().split() == [str(supervisor)]


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
    wait_for("the pause begins", lambda: tree.pauses() == [30], timeout_s=30)
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
    assert "the server left with code 137; it is started again in 60 s" in said
    assert tree.signals("serve", 3) == ["SIGTERM"]
    assert tree.pauses() == [30, 60]


def test_a_server_with_a_wrong_configuration_is_given_up_and_the_run_goes_on(tree: Tree) -> None:
    tree.begin(run="stay", serve="3")
    tree.started("serve", 1)
    tree.started("run", 1)
    wait_for("the server's keeper has ended too", lambda: not children_of(tree), timeout_s=30)
    tree.signal(signal.SIGINT)
    code, said = tree.end()
    assert (code, tree.starts("serve"), tree.pauses()) == (0, 1, [])
    assert "the server left with code 3, invalid configuration" in said


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
    return [pid for pid in pids if b"start_training" in command_line(int(pid))]


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


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    with ServiceManager.at(tmp_path) as listening:
        yield listening


def test_under_systemd_the_supervisor_alone_may_beat(tree: Tree, manager: ServiceManager) -> None:
    watched = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}
    tree.begin(run="stay", **watched)
    run, serve = (environment_of(int(tree.started(kind, 1)[0])) for kind in ("run", "serve"))
    assert {name: run.get(name) for name in watched} == watched | {"WATCHDOG_PID": None}
    assert not watched.keys() & serve.keys()
    tree.signal(signal.SIGTERM)
    assert tree.end()[0] == 0


def environment_of(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(entry.split("=", 1) for entry in entries if entry)


@pytest.mark.skipif(shutil.which("systemd-notify") is None, reason="systemd-notify is not installed")
def test_under_systemd_the_script_beats_while_no_supervisor_runs(tree: Tree, manager: ServiceManager) -> None:
    with ThreadPoolExecutor() as pool:
        # systemd-notify waits until what it said was taken, the barrier behind it too
        heard = pool.submit(lambda: [(manager.hears(is_beat, 20), manager.hears(is_barrier, 20)) for _ in range(3)])
        tree.begin(run="75 0", serve="0", NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="30000000")
        assert tree.end()[0] == 0
        texts = [beat and beat["STATUS"] for beat, _ in heard.result()]
    assert tree.pauses() == [10, 10, 10]  # a third of the time that systemd waits
    assert texts == [f"the supervisor left with code 75; it is started again in {left} s" for left in (30, 20, 10)]


def is_barrier(message: dict[str, str]) -> bool:
    return "BARRIER" in message


def test_systemds_word_to_a_service_that_hangs_reaches_the_supervisor_and_ends_the_script(tree: Tree) -> None:
    tree.begin(run="stay")
    tree.started("run", 1)
    tree.started("serve", 1)
    assert tree.process is not None
    tree.process.send_signal(signal.SIGABRT)
    assert tree.end()[0] == 128 + signal.SIGABRT
    assert (tree.starts("run"), tree.signals("serve")) == (1, ["SIGTERM"])
