"""What the server is told at its start."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ServerOptions:
    """Address, access and limits of one server."""

    host: str = "127.0.0.1"
    port: int = 8080
    admin_host: str = "127.0.0.1"  # of administration's own listener
    admin_port: int | None = None  # None: administration is on the first listener
    token: str | None = field(default=None, repr=False)  # administration needs it unless bound to loopback
    max_body_kb: int = 1024  # of one request
    body_timeout_s: float = 10.0  # for a request's body to arrive whole; a slower one is answered 408
    max_rows: int = 256  # states in one request
    max_in_flight: int = 1024  # inferences that wait at a time; more are answered 503
    max_connections: int = 4096  # more are answered 503
    deadline_s: float = 5.0  # that an inference may wait to be run; later it is answered 504
    max_model_mb: int = 256  # of one model file
    load_timeout_s: float = 30.0  # for checking, building and probing one model
    drain_s: float = 10.0  # for answering what is in flight when asked to stop
