"""The server's listening socket, or why there can be none."""

from __future__ import annotations

import errno
import resource
import socket

from supervisor.errors import UsageError
from supervisor.serving.errors import PortTakenError

OWN_DESCRIPTORS = 128
"""Files, pipes and the connections of administration, which a server needs besides its clients' connections."""


def connections_that_fit(wanted: int) -> int:
    """How many connections the system lets this process have, at most those wanted; its own limit is raised for them.

    Where descriptors run out, a new client would get no answer at all, and the models no file.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    needed = wanted + OWN_DESCRIPTORS
    if soft != unlimited and soft < needed:
        soft = needed if hard == unlimited else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == unlimited else max(1, min(wanted, soft - OWN_DESCRIPTORS))


def listen(host: str, port: int, prefix: str = "serving.") -> socket.socket:
    """A listening socket. Raises PortTakenError, or UsageError where the address is none of this machine's.

    `prefix` is what the settings of the address begin with.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, ValueError) as error:  # ValueError: what cannot even be the name of a host
        raise UsageError(
            f"{prefix}host {host!r} cannot be resolved ({error}); give an address of this machine"
        ) from error
    try:
        return _listening(socket.socket(family, kind, protocol), address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(
                f"port {port} on {host} is taken by another program; stop it, or set another {prefix}port"
            ) from error
        raise UsageError(
            f"cannot listen on {host} port {port} ({error.strerror}); set another {prefix}host or {prefix}port"
        ) from error


def _listening(listener: socket.socket, address: tuple[object, ...]) -> socket.socket:
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Listening at once: with SO_REUSEADDR two programs may bind, and only one of them listens.
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


def url_of(listener: socket.socket) -> str:
    """Where it is to be asked for, like http://127.0.0.1:8080."""
    address, port = listener.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    return f"http://{shown}:{port}"
