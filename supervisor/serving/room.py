"""Memory for bodies that are still coming: each is bounded, and so are they all together."""

from __future__ import annotations

from collections.abc import Iterable

from supervisor.serving.connection import Connection
from supervisor.serving.errors import ApiError

MAX_HELD_MB = 256


def make_room(connections: Iterable[Connection]) -> None:
    """Give up those that take longest where more has come than may be held; a body usually takes milliseconds."""
    holding = [connection for connection in connections if connection.held_bytes]
    excess_bytes = sum(connection.held_bytes for connection in holding) - MAX_HELD_MB * 2**20
    for connection in sorted(holding, key=lambda own: own.came_s):
        if excess_bytes <= 0:
            return
        excess_bytes -= connection.held_bytes
        error = ApiError(503, "overloaded", "too many bodies are coming at once; try again", {"Retry-After": "1"})
        connection.give_up(error)
