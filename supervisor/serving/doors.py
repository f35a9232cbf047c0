"""The addresses that the server listens on: whether administration is there, and how many may be connected."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from starlette.requests import Request

from supervisor.errors import UsageError
from supervisor.serving.access import Access
from supervisor.serving.errors import ApiError
from supervisor.serving.listening import listen, url_of
from supervisor.serving.options import ServerOptions

ADMIN_CONNECTIONS = 32
"""What the many who ask for inferences cannot take away from the one who administers."""


@dataclass
class Door:
    """One listening address. Without `access` there is no administration."""

    listener: socket.socket
    access: Access | None
    max_connections: int
    connections: int = 0  # open now

    def __post_init__(self) -> None:
        self.url, self.port = url_of(self.listener), self.listener.getsockname()[1]


@dataclass(frozen=True)
class Doors:
    """The first is everybody's. Where there is a second, administration is there alone; all else is there as well."""

    first: Door
    admin: Door | None = None

    @property
    def connections(self) -> int:
        return sum(door.connections for door in (self.first, self.admin) if door is not None)

    @property
    def listeners(self) -> list[socket.socket]:
        return [door.listener for door in (self.first, self.admin) if door is not None]

    def of(self, server: tuple[str, int | None] | None) -> Door:
        """The one that a connection came in by. `server` is the address of its end here, which no client chooses."""
        if self.admin is not None and server is not None and server[1] == self.admin.port:
            return self.admin
        return self.first

    def check(self, request: Request) -> None:
        """Raises ApiError (401, 403, 404) where the request may not administer."""
        access = self.of(request.scope.get("server")).access
        if access is None:
            raise ApiError(404, "not_here", "administration has a listener of its own (serving.admin_port)")
        access.check(request.headers)


@contextlib.contextmanager
def opened(options: ServerOptions) -> Iterator[Doors]:
    """Raises PortTakenError, UsageError or ConfigurationError."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(listen(options.host, options.port))
        if options.admin_port is None:
            yield Doors(Door(first, _access(first, options, "serving."), options.max_connections))
            return
        if options.admin_port == first.getsockname()[1]:  # the port says by which one somebody came in
            raise UsageError(f"serving.admin_port {options.admin_port} is the first listener's too; set another one")
        admin = stack.enter_context(listen(options.admin_host, options.admin_port, "serving.admin_"))
        yield Doors(
            Door(first, None, options.max_connections),
            Door(admin, _access(admin, options, "serving.admin_"), ADMIN_CONNECTIONS),
        )


def _access(listener: socket.socket, options: ServerOptions, prefix: str) -> Access:
    name = options.host if prefix == "serving." else options.admin_host
    return Access.to(listener.getsockname()[0], options.token, name, f"{prefix}host")
