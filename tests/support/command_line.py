"""Commands of `incumbent` on a run folder whose targets cost nothing: in this process, and in one of their own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from supervisor import cli
from supervisor.journal.log import read_log
from supervisor.record import Record
from tests.support.inline_executor import InlineExecutor
from tests.support.processes import ROOT, console, start, wait_for
from trainers import worker

TARGETS = ("aggressive/noop", "mage/noop")
TARGET_FILE = """\
target: {key}
kind: tests.support.noop:NoopTarget
contenders: screened
parameters:
  skill: {{type: float, default: 0.3, low: 0.0, high: 1.0}}
  other: {{type: float, default: 1.0, low: 0.1, high: 10.0, log: true}}
  whole: {{type: int, default: 4, low: 1, high: 9}}
"""


@dataclass
class Result:
    """What a command answered. `out` and `err` are one text where a console would show one."""

    code: int
    out: str
    err: str = ""

    def json(self) -> dict[str, object]:
        return json.loads(self.out)


@dataclass
class NoopFolder:
    """A run folder with the configuration that it is searched with."""

    run_dir: Path
    config: Path

    @classmethod
    def make(cls, base: Path) -> NoopFolder:
        """Search spaces and configuration written, nothing run yet."""
        spaces = base / "spaces"
        spaces.mkdir(parents=True)
        for key in TARGETS:
            (spaces / f"{key.split('/')[0]}.yaml").write_text(TARGET_FILE.format(key=key))
        config = base / "noop.yaml"
        config.write_text(
            f"run:\n  search_spaces: {spaces}\n  targets: ['*/noop']\n  seed: 7\n"
            "serving: {port: 9}\n"  # nobody answers on the discard port
        )
        return cls(base / "run", config)

    def copy(self, base: Path) -> NoopFolder:
        """The same run in another folder."""
        shutil.copytree(self.run_dir, base / "run")
        return NoopFolder(base / "run", self.config)

    @property
    def flags(self) -> tuple[str, ...]:
        return "--config", str(self.config)

    def call(self, *arguments: str) -> Result:
        """A command that needs no configuration."""
        return call(*arguments, "--run-dir", str(self.run_dir))

    def call_with_config(self, *arguments: str) -> Result:
        return self.call(*arguments, *self.flags)

    def lines(self) -> tuple[Record, ...]:
        return tuple(read_log(self.run_dir).records)

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in (self.run_dir / "events.jsonl").read_text().splitlines()]


def call(*arguments: str) -> Result:
    """One command line in this process; trials run in it too, so that no fork server has to import torch."""
    out, err = io.StringIO(), io.StringIO()
    with (
        in_process(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = cli.run_cli(list(arguments))
    return Result(code, out.getvalue(), err.getvalue())


def process(*arguments: str, environ: dict[str, str] | None = None) -> Result:
    """One command line in a process of its own, as a shell starts it."""
    done = subprocess.run(
        [sys.executable, "-m", "supervisor", *arguments],
        cwd=ROOT,
        env={**os.environ, **(environ or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def _inline(slots: int = 1, **_: object) -> InlineExecutor:
    return InlineExecutor(lambda folder: work(folder), slots)


def work(folder: str) -> int:
    """What a trial's process does; a test may put something worse in its place."""
    return worker.main(folder)


@contextlib.contextmanager
def in_process() -> Iterator[None]:
    """Runs started in here have their trials in this process, and leave its signal handlers as they were."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with mock.patch("supervisor.commands.run.LocalExecutor", _inline):
            yield
    finally:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class LiveRun:
    """A real supervisor process at work in a copy of a finished run."""

    folder: NoopFolder
    process: subprocess.Popen[bytes]

    def console(self) -> list[str]:
        """What it has said so far, a line each, without the time of day."""
        return [line.split("  ", 1)[1] for line in console(self.folder.run_dir).splitlines() if "  " in line]

    def wait_until_it_says(self, part: str, after: int = 0) -> str:
        """The first console line behind line `after` that holds the part."""
        found: list[str] = []

        def said() -> bool:
            found[:] = [line for line in self.console()[after:] if part in line]
            return bool(found) or self.process.poll() is not None

        wait_for(f"the console says {part!r}", said)
        assert found, console(self.folder.run_dir)
        return found[0]

    def wait_for_iterations(self, more: int) -> None:
        """Until this many more iterations are on the console than now."""
        sought = self._iterations() + more
        wait_for(f"{more} more iterations", lambda: self._iterations() >= sought)

    def _iterations(self) -> int:
        return sum(line.startswith("#") for line in self.console())


@contextlib.contextmanager
def started(folder: NoopFolder, as_shipped: bool = False) -> Iterator[LiveRun]:
    """A supervisor without a limit, from its first iteration on; ended whatever happens."""
    live = LiveRun(folder, start(folder.run_dir, *folder.flags, trains=as_shipped))
    try:
        live.wait_until_it_says("#")
        yield live
    finally:
        live.process.terminate()
        live.process.wait(timeout=60)
