"""The wire between a program and a PostgreSQL server: cut, mended, or with an answer lost on the way."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

SOCKET_NAME = ".s.PGSQL.5432"


class Cable:
    """Whoever connects to `folder` as to a server's reaches the one in `server`, while it is whole."""

    def __init__(self, folder: Path, server: Path) -> None:
        self.folder, self._server = folder, server
        self._whole = True
        self._fatal: list[bytes] = []
        self._ends: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / SOCKET_NAME))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """Every connection is lost, and none is made until `mend`."""
        with self._lock:
            self._whole = False
            for end in self._ends:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        with self._lock:
            self._whole, self._fatal = True, []

    def lose_the_answer_to(self, *requests: bytes) -> None:
        """The server gets a request with the first of these, later one with the second, and so on; by the time it has
        answered the last, the cable is cut."""
        self._fatal = [*requests]

    def close(self) -> None:
        self.cut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            with self._lock:
                if not self._whole:
                    return
                self._ends |= {client, server}
            try:
                server.connect(str(self._server / SOCKET_NAME))
                self._there_and_back(client, server)
            finally:
                with self._lock:
                    self._ends -= {client, server}

    def _there_and_back(self, client: socket.socket, server: socket.socket) -> None:
        losing = threading.Event()
        back = threading.Thread(target=self._pass_on, args=(server, client, losing), daemon=True)
        back.start()
        try:
            while data := client.recv(65536):
                if self._fatal and self._fatal[0] in data:
                    self._fatal = self._fatal[1:]
                    if not self._fatal:
                        losing.set()
                server.sendall(data)
        finally:
            for end in (client, server):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            back.join()

    def _pass_on(self, server: socket.socket, client: socket.socket, losing: threading.Event) -> None:
        try:
            with contextlib.suppress(OSError):
                while data := server.recv(65536):
                    if losing.is_set():
                        self.cut()
                        return
                    client.sendall(data)
        finally:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
