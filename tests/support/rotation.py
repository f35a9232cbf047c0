"""What people and their machines do to the log while it is written: the real `gzip`, `tail`, `mv` and `logrotate`."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import time
from pathlib import Path

import pytest

from tests.support.processes import ROOT, wait_for
from tests.support.shell import shell

PATH = f"{os.environ['PATH']}:/usr/sbin"
needs_logrotate = pytest.mark.skipif(shutil.which("logrotate", path=PATH) is None, reason="logrotate is not installed")
TICK_S = 0.1  # logrotate reads the kernel's coarse clock, which is a tick behind the one Python reads
CONFIGURATION = ROOT / "tools" / "incumbent.logrotate"


def logrotate(run_dir: Path) -> None:
    """One forced rotation by the configuration that the program comes with, under a name of its own second."""
    wait_for("a second without a rotation", lambda: not any(run_dir.glob(f"*-{int(time.time() - TICK_S)}.*")))
    user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
    text = CONFIGURATION.read_text().replace("/var/lib/incumbent", str(run_dir))
    configuration = run_dir.with_name("logrotate.conf")
    configuration.write_text(text.replace("su incumbent incumbent", f"su {user} {group}"))
    shell(f"logrotate --force --state {run_dir}.rotated {configuration}", cwd=run_dir.parent, environ={"PATH": PATH})


def gzip(run_dir: Path) -> None:
    shell("gzip training_log.jsonl", cwd=run_dir)


def move_away(run_dir: Path) -> None:
    shell("mv training_log.jsonl training_log.jsonl.1 && touch training_log.jsonl", cwd=run_dir)


def copy_and_truncate(run_dir: Path) -> None:
    shell("cp training_log.jsonl training_log.1.jsonl && truncate -s 0 training_log.jsonl", cwd=run_dir)


def shorten(run_dir: Path, kept: int = 3) -> None:
    shell(f"tail -{kept} training_log.jsonl > recent && mv recent training_log.jsonl", cwd=run_dir)
