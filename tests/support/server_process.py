"""A real server in a process of its own, and plain HTTP to it."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from supervisor.experience.intake.options import IntakeOptions
from supervisor.serving.options import ServerOptions, WatchOptions
from tests.support.forked import Forked

_PROGRAM = """
import json, sys
from pathlib import Path
from supervisor.experience.intake.options import IntakeOptions
from supervisor.serving.options import ServerOptions, WatchOptions
from supervisor.serving.server import run_server

def announce(line):
    print(line, flush=True)

options, watched = ServerOptions(**json.loads(sys.argv[2])), WatchOptions(**json.loads(sys.argv[3]))
taking = IntakeOptions(**json.loads(sys.argv[4]))
run_server(Path(sys.argv[1]), options, announce, watched=watched, taking=taking)
"""


@dataclass
class Reply:
    status: int
    body: Any
    headers: dict[str, str]

    @property
    def code(self) -> str:
        return str(self.body["error"]["code"])


@dataclass
class ServerProcess:
    """Started and announced when the `with` block begins; killed at its end, and it must not have complained."""

    run_dir: Path
    options: ServerOptions = field(default_factory=lambda: ServerOptions(port=0))
    before: str = ""  # Python that its process runs first
    is_fork: bool = True  # else a Python of its own, for what is read when a program is loaded
    watched: WatchOptions = field(default_factory=WatchOptions)
    taking: IntakeOptions = field(default_factory=IntakeOptions)
    admin_port: int = field(init=False)  # of the listener of its own, where there is one

    def __enter__(self) -> ServerProcess:
        arguments = [
            str(self.run_dir),
            json.dumps(asdict(self.options)),
            json.dumps(asdict(self.watched)),
            json.dumps(asdict(self.taking)),
        ]
        code = self.before + _PROGRAM
        self.process = Forked(arguments, code=code, warnings_are_errors=True) if self.is_fork else _own(code, arguments)
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = int(self.wait_for_line("serving ", " on http://").rsplit(":", 1)[1])
        if self.options.admin_port is not None:
            told = self.wait_for_line("administration on http://").removesuffix(" alone")
            self.admin_port = int(told.rsplit(":", 1)[1])
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        with self.process.stdout, self.process.stderr:
            complaints = self.process.stderr.read()
        assert complaints == "", f"the server complained:\n{complaints}"

    def wait_for_line(self, *parts: str) -> str:
        """The first console line that holds all parts; fails when the server ends without it, or takes a minute."""
        with self._news:
            found = self._news.wait_for(lambda: self._find(parts) or (self._ended() and "ended"), timeout=60)
        line = self._find(parts)
        assert line is not None, f"{found or 'silent'}: {self.lines}"
        return line

    def request(
        self, method: str, path: str, body: bytes | None = None, port: int | None = None, **headers: str
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            data = response.read()
            return Reply(response.status, json.loads(data) if data else None, dict(response.getheaders()))
        finally:
            connection.close()

    def get(self, path: str) -> Reply:
        return self.request("GET", path)

    def post(self, path: str, value: object = None, **headers: str) -> Reply:
        return self.request("POST", path, None if value is None else json.dumps(value).encode(), **headers)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def _find(self, parts: tuple[str, ...]) -> str | None:
        return next((line for line in self.lines if all(part in line for part in parts)), None)

    def _ended(self) -> bool:
        return self.process.poll() is not None


def _own(code: str, arguments: Sequence[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
