"""A port that is free now and that no client of anybody's is given by chance meanwhile."""

from __future__ import annotations

import random
import socket

OWN = range(20_000, 32_000)  # below those that Linux gives to whoever connects


def free_port() -> int:
    for port in random.sample(OWN, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("a hundred ports are taken")
