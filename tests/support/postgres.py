"""A PostgreSQL server of one's own, on a socket in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg

from tests.support.processes import wait_for

AVAILABLE = shutil.which("initdb") is not None and shutil.which("postgres") is not None


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Its address. PostgreSQL refuses to run as root: there it is its own user's."""
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    folder = Path(tempfile.mkdtemp(prefix="incumbent-pg-", dir="/tmp"))
    if os.geteuid() == 0:
        shutil.chown(folder, user)
    quiet = {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    data = str(folder / "data")
    process = None
    try:
        subprocess.run(["initdb", "-A", "trust", "-U", "tester", "--no-sync", "-D", data], check=True, **quiet)
        process = subprocess.Popen(["postgres", "-D", data, "-k", str(folder), "-h", "", "-F"], **quiet)
        address = f"postgresql://tester@/postgres?host={folder}"
        wait_for("PostgreSQL answers", lambda: _answers(address))
        yield address
    finally:
        if process is not None:
            process.terminate()
            process.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def _answers(address: str) -> bool:
    try:
        psycopg.connect(address).close()
    except psycopg.OperationalError:
        return False
    return True
