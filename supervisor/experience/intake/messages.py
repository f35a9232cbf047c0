"""What the server and the process that takes experiences in tell each other over a socket.

A message is its length, the length of its JSON part, that part, and bytes: a request's body.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from supervisor.experience.store import Stored

HEAD = struct.Struct("<II")
LONGEST_BYTES = 2**31

UNREADABLE, TOO_MANY_ROWS, NO_ROOM, STORE_DOWN, FAULT = "unreadable", "too_many_rows", "no_room", "store_down", "fault"
"""Why a body was not taken."""


@dataclass(frozen=True)
class State:
    """Of the intake since its process began. Parcels that came again count nowhere else."""

    rows: int = 0
    quarantined: Mapping[str, int] = field(default_factory=dict)  # by reason
    parcels: int = 0
    repeated: int = 0
    commits: int = 0
    commit_s: float = 0.0
    failures: int = 0  # of the store
    waiting_rows: int = 0
    is_down: bool = False


@dataclass(frozen=True)
class Taken:
    """What became of a body; `reasons` is how many rows were refused for what."""

    stored: Stored
    reasons: Mapping[str, int]

    @staticmethod
    def parse(told: Mapping[str, Any]) -> Taken:
        return Taken(Stored(**told["stored"]), told["reasons"])

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def packed(told: Mapping[str, Any], body: bytes = b"") -> tuple[bytes, bytes]:
    """Head and JSON, and the body as it is: it may be large, and is not copied."""
    text = orjson.dumps(told)
    return HEAD.pack(len(text) + len(body), len(text)) + text, body


def unpacked(data: bytes, text_bytes: int) -> tuple[dict[str, Any], bytes]:
    """Of a message less its head."""
    return orjson.loads(data[:text_bytes]), data[text_bytes:]
