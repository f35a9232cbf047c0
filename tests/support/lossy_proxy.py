"""Stands between a client and a server, and loses some answers: the server has had the request by then."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType


class LossyProxy:
    """One client at a time. The first `losing` answers are not passed on; the client's connection is closed."""

    def __init__(self, port: int, losing: int) -> None:
        self._server_port, self._losing = port, losing
        self.lost = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> LossyProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client, socket.create_connection(("127.0.0.1", self._server_port)) as server:
                    back = threading.Thread(target=self._pass_on, args=(server, client))
                    back.start()
                    with contextlib.suppress(OSError):
                        while data := client.recv(65536):
                            server.sendall(data)
                        server.shutdown(socket.SHUT_WR)
                    back.join()

    def _pass_on(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if self.lost < self._losing:
                    self.lost += 1
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(data)
