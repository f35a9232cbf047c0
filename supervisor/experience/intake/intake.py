"""The server's side of the process that takes experiences in: hands bodies over, and tells when they are durable."""

from __future__ import annotations

import asyncio
import itertools
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from supervisor.contract import Interface
from supervisor.experience.intake import child, messages
from supervisor.experience.intake.form import form_of
from supervisor.experience.intake.messages import HEAD, State, Taken
from supervisor.experience.intake.options import IntakeOptions

MOST_BODIES = 4
"""As many of the largest may be on their way."""
RESTART_S = 1.0


class NotTakenError(Exception):
    """A body was not taken. `why` is one of those in `messages`."""

    def __init__(self, why: str, message: str) -> None:
        super().__init__(message)
        self.why = why


class Intake:
    """Belongs to one event loop. The process begins with the first body, and again where it has died."""

    def __init__(
        self,
        options: IntakeOptions,
        run_dir: Path,
        loaded: Callable[[], Mapping[str, Interface]],
        announce: Callable[[str], None],
    ) -> None:
        """`loaded` tells the interfaces of the models that are, by target."""
        self.options, self._run_dir, self._loaded, self._announce = options, run_dir, loaded, announce
        self.state = State()
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Taken]] = {}
        self._held_bytes = 0
        self._link: _Link | None = None
        self._starting = asyncio.Lock()
        self._began_s = -RESTART_S
        self._is_closed = False

    async def take(self, body: bytes, content_type: str, client: str, key: str) -> Taken:
        """Returns when it is durable. `content_type` is one of `reading.CONTENT_TYPES`. Raises NotTakenError."""
        most_bytes = MOST_BODIES * self.options.max_body_kb * 1024
        if self._held_bytes + len(body) > most_bytes:
            raise NotTakenError(messages.NO_ROOM, f"{self._held_bytes} bytes are on their way, at most {most_bytes}")
        self._held_bytes += len(body)
        number = next(self._numbers)
        try:
            link = await self._linked()
            future: asyncio.Future[Taken] = asyncio.get_running_loop().create_future()
            self._asked[number] = future
            link.show(self._loaded())
            link.send({"id": number, "content_type": content_type, "client": client, "key": key}, body)
            return await future
        finally:
            self._asked.pop(number, None)
            self._held_bytes -= len(body)

    def hurry(self) -> None:
        """A few rows wait for company no more."""
        if self._link is not None:
            self._link.send({"hurry": True})

    async def close(self) -> None:
        """Everything that was taken is durable on return."""
        self._is_closed = True
        async with self._starting:
            if self._link is not None:
                await self._link.close()

    async def _linked(self) -> _Link:
        async with self._starting:
            if self._link is None or self._link.is_over:
                if self._is_closed:
                    raise NotTakenError(messages.STORE_DOWN, "the server is about to stop")
                if time.monotonic() - self._began_s < RESTART_S:  # it has just died: no busy loop
                    raise NotTakenError(messages.STORE_DOWN, "the process that takes experiences in has ended")
                self._began_s = time.monotonic()
                try:
                    self._link = await _Link.begun(self.options, self._run_dir, self._heard, self._over)
                except OSError as error:
                    self._announce(f"experiences are refused: no process can be started to take them in: {error}")
                    raise NotTakenError(messages.STORE_DOWN, "no process can be started") from error
            return self._link

    def _heard(self, told: Mapping[str, Any]) -> None:
        self.state = State(**told["state"])
        if "announce" in told:
            self._announce(told["announce"])
        future = self._asked.get(told.get("id", 0))
        if future is None or future.done():  # whoever asked has gone
            return
        if "taken" in told:
            future.set_result(Taken.parse(told["taken"]))
        else:
            future.set_exception(NotTakenError(told["refused"], told["message"]))

    def _over(self) -> None:
        """Nobody knows what became of what was asked; whoever sent it sends it again."""
        self.state = replace(self.state, waiting_rows=0)
        for future in self._asked.values():
            if not future.done():
                future.set_exception(NotTakenError(messages.STORE_DOWN, "the process that stores them has ended"))
        if not self._is_closed:
            self._announce("the process that takes experiences in has ended; the next ones start it anew")


class _Link:
    """To one process, from its beginning to its end."""

    def __init__(self, process: subprocess.Popen[bytes], writer: asyncio.StreamWriter) -> None:
        self._process, self._writer = process, writer
        self._shown: Mapping[str, Interface] = {}
        self._reading: asyncio.Task[None] | None = None
        self.is_over = False

    @staticmethod
    async def begun(
        options: IntakeOptions,
        run_dir: Path,
        heard: Callable[[Mapping[str, Any]], None],
        over: Callable[[], None],
    ) -> _Link:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", child.__name__, str(theirs.fileno())]
        with theirs:
            none = subprocess.DEVNULL
            process = await asyncio.to_thread(
                lambda: subprocess.Popen(command, stdin=none, stdout=none, pass_fds=[theirs.fileno()])
            )
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        link = _Link(process, writer)
        # through the socket and not among the arguments: the address may hold a password
        link.send({"options": asdict(options), "run_dir": str(run_dir)})
        link._reading = asyncio.create_task(link._read(reader, heard, over))
        return link

    def send(self, told: Mapping[str, Any], body: bytes = b"") -> None:
        if self.is_over:
            return
        for part in messages.packed(told, body):
            if part:
                self._writer.write(part)

    def show(self, loaded: Mapping[str, Interface]) -> None:
        """Tell what the loaded models take, where that has changed."""
        if loaded != self._shown:
            self._shown = loaded
            self.send({"loaded": {target: vars(form_of(interface)) for target, interface in loaded.items()}})

    async def close(self) -> None:
        """Returns when the process has written everything and gone."""
        if not self.is_over:
            self._writer.write_eof()
        if self._reading is not None:
            await self._reading

    async def _read(
        self, reader: asyncio.StreamReader, heard: Callable[[Mapping[str, Any]], None], over: Callable[[], None]
    ) -> None:
        try:
            while True:
                size, text_bytes = HEAD.unpack(await reader.readexactly(HEAD.size))
                told, _ = messages.unpacked(await reader.readexactly(size), text_bytes)
                heard(told)
        except (asyncio.IncompleteReadError, OSError):
            pass  # it has gone
        self.is_over = True
        over()  # before anything else is asked of another one
        self._writer.close()
        await asyncio.to_thread(self._process.wait)
