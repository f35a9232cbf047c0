"""A newcomer types README.md from top to bottom. Real training, with a small budget: a minute or two."""

import contextlib
import json
import os
import re
import signal
import subprocess

import pytest

from tests.support.ports import free_port
from tests.support.processes import ROOT, wait_for
from tests.support.readme import ENDLESS, blocks
from tests.support.shell import shell

pytestmark = pytest.mark.slow

LINKED = ("supervisor", "trainers", "search_spaces", "tools", "pyproject.toml", "README.md")
SMALL = {"INCUMBENT_BUDGETS__STEPS": "4000", "INCUMBENT_PROMOTION__MAX_PAIRS": "100", "OMP_NUM_THREADS": "1"}
CODE = 'print(json.dumps({"games": ['


class Newcomer:
    """A folder that looks like a fresh clone after its first set-up, and a terminal in it."""

    def __init__(self, place):
        self.place = place
        self.port, self.dashboard_port, self.metrics_port = (str(free_port()) for _ in range(3))
        for name in LINKED:
            (place / name).symlink_to(ROOT / name)
        (place / ".venv").mkdir()
        for name in ("bin", "lib", "pyvenv.cfg"):
            (place / ".venv" / name).symlink_to(ROOT / ".venv" / name)
        stamp = "\n".join(
            [
                re.search(r"^stamp_of\(\) \{.*?^\}", (ROOT / "tools/setup.sh").read_text(), re.M | re.S)[0],
                "stamp_of dev",
            ]
        )
        (place / ".venv" / "stamp").write_text(shell(stamp, cwd=place))
        path = f"{place}/.venv/bin:{os.environ['PATH']}"
        ports = {"INCUMBENT_SERVING__PORT": self.port, "INCUMBENT_RUN__METRICS_PORT": self.metrics_port}
        self.environ = {**SMALL, **ports, "PATH": path}

    def typed(self, line):
        """The line, with ports that are free here."""
        line = line.replace("localhost:8080", f"127.0.0.1:{self.port}")
        line = line.replace("localhost:9091", f"127.0.0.1:{self.metrics_port}")
        return line.replace("incumbent dashboard", f"incumbent dashboard --port {self.dashboard_port}")

    @contextlib.contextmanager
    def beside(self, line, name):
        """A command that goes on; its output lies in a file. Interrupted at the end, as Ctrl+C does."""
        console = self.place / f"{name}.txt"
        with console.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {self.typed(line)}"],
                cwd=self.place,
                env={**os.environ, **self.environ},
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            yield console
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
        assert process.returncode == 0, console.read_text()

    def type(self, line):
        return shell(self.typed(line), cwd=self.place, environ=self.environ)

    def glance(self, line, **environ):
        """A command that goes on: its first line of output, then Ctrl+C."""
        process = subprocess.Popen(
            ["bash", "-c", self.typed(line)],
            cwd=self.place,
            env={**os.environ, **self.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        first = process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()
        process.stdout.close()
        assert process.wait(timeout=60) in (0, -signal.SIGINT, 130), (first + rest).decode()
        return first.decode()


def count(console):
    return len(re.findall(r"^\S+  #\d", console.read_text(), re.MULTILINE))


def test_every_command_of_the_readme_from_top_to_bottom(tmp_path):
    me = Newcomer(tmp_path)
    todo = [(block.mark, block.commands()) for block in blocks() if block.mark not in ("unit", "path")]
    marks = [mark for mark, _ in todo]
    assert marks[:3] == ["start", "", "start again"]
    (_, [start]), (_, [ask]), (_, [again]), *rest = todo

    with me.beside(start, "first") as console:
        wait_for("the first trial of every target", lambda: count(console) >= 6)
        wait_for("all six are served", lambda: '"models":6' in me.type("curl -s localhost:8080/health"))
        answer = json.loads(me.type(ask))
        assert re.fullmatch(r"v\d{6}", answer["version"])
        assert len(answer["outputs"]["q_values"][0]) == 10
        assert answer["actions"][0] in range(10)
    done = count(console)
    with me.beside(again, "again") as console:
        wait_for("its first line", lambda: "Resumed from checkpoint" in console.read_text())
        assert re.search(rf"^\S+  Resumed from checkpoint: iteration {done}, best win rate", console.read_text(), re.M)
        wait_for("another iteration", lambda: count(console) >= 1)
        _, everyday = rest.pop(0)
        status, *_ = [type_or_glance(me, line) for line in everyday]
        wait_for("the end that incumbent stop asked for", lambda: "the server is stopped" in console.read_text())
    assert all(re.search(rf"^{target} +v0", status, re.MULTILINE) for target in ("mage/combat_dqn", "tank/combat_dqn"))
    assert (tmp_path / "model.onnx").stat().st_size > 1000

    with contextlib.ExitStack() as stack:
        for mark, lines in rest:
            for line in lines:
                if mark in ("long", "gymnasium"):  # an hour of training; a package fetched, which is here already
                    continue
                if mark == "train":
                    learn(me, line)
                elif mark == "beside":
                    console = stack.enter_context(me.beside(line, "serve"))
                    wait_for("the server answers", lambda console=console: "serving " in console.read_text())
                else:
                    type_or_glance(me, line)
    assert "# the comment stays" in (tmp_path / "bot" / "weights.yaml").read_text()
    assert (tmp_path / "bot_run" / "training_log.jsonl").read_text().count("\n") == 8


def learn(me, line):
    """What is trained needs its budget, or it has learnt nothing."""
    if ENDLESS.search(line):
        # the other folder's server stays: this one needs a port of its own
        assert "serving " in me.glance(line, INCUMBENT_SERVING__PORT=str(free_port()))
        return
    small = {"INCUMBENT_BUDGETS__STEPS"}
    environ = {name: value for name, value in me.environ.items() if name not in small}
    seen = shell(line, cwd=me.place, environ=environ)
    assert "mage/combat_dqn" in seen
    assert "1 of 1 are better than their untrained selves" in seen or "reports/evaluation.json" in seen


def type_or_glance(me, line):
    if line.startswith("incumbent rollback"):  # so little training need not have promoted anything
        seen = me.type(f"({line.split('#')[0]} || [ $? -eq 2 ]) 2>&1")
        assert "asked the running supervisor: rollback" in seen or "has no earlier version" in seen
        return seen
    seen = me.glance(line) if ENDLESS.search(line) else me.type(line)
    assert seen.strip() or re.match(r"mkdir|echo|cat >|gzip|tail -1000|jq -r 'select\(.status", line), line
    return seen


def test_the_python_of_the_readme_runs_as_a_script_of_ones_own(tmp_path):
    me = Newcomer(tmp_path)
    [block] = [block for block in blocks("python") if block.mark != "client"]
    (tmp_path / "mine.py").write_text(block.text)  # no main guard: trials must not import it again
    out = shell("PYTHONPATH=. python mine.py", cwd=tmp_path, environ=me.environ)
    assert "New run" in out
    assert out.count("  baseline  ") == 2
    assert (tmp_path / "other" / "training_log.jsonl").read_text().count("\n") == 2


def test_its_own_target_takes_fifteen_lines():
    [block] = [block for block in blocks() if "play.py" in block.text]
    typed = [line for line in block.text.splitlines() if line.strip() not in ("END", "")]
    assert len(typed) <= 15 + 1  # and the command that runs it
    assert CODE in block.text
