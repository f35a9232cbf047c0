"""The process that takes experiences in: `python -m supervisor.experience.intake.child FD` beside the server.

It reads bodies and writes rows while the server answers those who ask for actions: in one process, one of them would
wait for the other, as Python runs one thread at a time. It lives as long as the socket that it is given, and ends when
everything that it took is durable.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

from supervisor.experience.intake import messages
from supervisor.experience.intake.form import Form, Forms
from supervisor.experience.intake.messages import HEAD, State, Taken
from supervisor.experience.intake.options import IntakeOptions
from supervisor.experience.intake.reading import TooManyRowsError, parcel_of, reasons
from supervisor.experience.intake.refusals import UnreadableError
from supervisor.experience.intake.writer import NoRoomError, Writer
from supervisor.experience.opening import open_store
from supervisor.experience.rows import MICROSECONDS
from supervisor.experience.store import Stored, StoreDownError

NICER = 5
"""Whoever asks for an action goes first where there are too few processors."""

CODES: Mapping[type[BaseException], str] = {
    UnreadableError: messages.UNREADABLE,
    TooManyRowsError: messages.TOO_MANY_ROWS,
    NoRoomError: messages.NO_ROOM,
    StoreDownError: messages.STORE_DOWN,
}


class Child:
    """Answers the messages of one socket."""

    def __init__(self, link: socket.socket, options: IntakeOptions, run_dir: Path) -> None:
        self._link, self._options = link, options
        self._sending = threading.Lock()
        self._loaded: dict[str, Form] = {}
        self._forms = Forms(options.targets, lambda target: self._loaded.get(target))
        self._writer = Writer(
            partial(open_store, options.url, run_dir),
            self._forms.look,
            options.max_waiting_rows,
            options.commit_ms / 1e3,
            self._announce,
        )

    def serve(self, heard: Iterator[tuple[dict[str, Any], bytes]]) -> None:
        """Until the server is gone."""
        for told, body in heard:
            if "loaded" in told:
                self._loaded = {target: Form(**form) for target, form in told["loaded"].items()}
            if "hurry" in told:
                self._writer.hurry()
            if "id" in told:
                self._take(told["id"], body, told["content_type"], told["client"], told["key"])
        self._writer.close()

    def _take(self, number: int, body: bytes, content_type: str, client: str, key: str) -> None:
        try:
            self._writer.opened()
            now_us = time.time_ns() * MICROSECONDS // 10**9
            most = self._options.max_waiting_rows
            parcel = parcel_of(body, content_type, self._forms, now_us, most, client, key)
            stored = self._writer.offer(parcel)
        except tuple(CODES) as error:
            self._tell({"id": number, **_refusal(error)})
            return
        self._tell({})
        stored.add_done_callback(partial(self._answer, number, reasons(parcel)))

    def _answer(self, number: int, why: Mapping[str, int], stored: Future[Stored]) -> None:
        error = stored.exception()
        told = _refusal(error) if error is not None else {"taken": Taken(stored.result(), why).plain()}
        self._tell({"id": number, **told})

    def _announce(self, line: str) -> None:
        self._tell({"announce": line})

    def _tell(self, told: Mapping[str, Any]) -> None:
        """Every message says how things stand."""
        writer = self._writer
        state = State(**vars(writer.counts), waiting_rows=writer.waiting_rows, is_down=writer.down is not None)
        head, _ = messages.packed({**told, "state": {**vars(state), "quarantined": dict(state.quarantined)}})
        try:
            with self._sending:
                self._link.sendall(head)
        except OSError:  # the server is gone; what it handed over is written all the same
            return


def _refusal(error: BaseException) -> dict[str, Any]:
    return {"refused": CODES.get(type(error), messages.FAULT), "message": str(error)}


def _messages(link: socket.socket) -> Iterator[tuple[dict[str, Any], bytes]]:
    with link.makefile("rb") as stream, contextlib.suppress(ConnectionError):  # a server that is killed leaves so
        while len(head := stream.read(HEAD.size)) == HEAD.size:
            size, text_bytes = HEAD.unpack(head)
            data = stream.read(size)
            if len(data) < size:
                return
            yield messages.unpacked(data, text_bytes)


def main() -> None:
    # Both come to a whole group of processes; this one goes when the server has gone.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICER)
    with socket.socket(fileno=int(sys.argv[1])) as link:
        heard = _messages(link)
        for told, _ in heard:
            Child(link, IntakeOptions(**told["options"]), Path(told["run_dir"])).serve(heard)


if __name__ == "__main__":
    main()
