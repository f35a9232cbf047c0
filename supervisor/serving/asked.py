"""A request as its form understood it: what the model is to be given, and how the answer is to be written.

Named tuples: there is one of each per request, and nothing is made faster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from supervisor.serving.session import Arrays

CONTENT_TYPE = b"content-type"
JSON_TYPE = b"application/json"
BINARY_TYPE = b"application/octet-stream"


class Written(NamedTuple):
    """An answer's body, and what its head says of it besides the length."""

    body: bytes
    content_type: bytes = JSON_TYPE
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Asked(NamedTuple):
    """`write` makes the answer of a version's name and the outputs by name."""

    inputs: Arrays
    rows: int
    write: Callable[[str, Arrays], Written]
    timeout_s: float | None = None  # how long it is worth waiting for, where it says so
    id: str | None = None


class Sent(NamedTuple):
    """A request's body and the headers that say how to read it, names in lower case."""

    body: bytes
    headers: Mapping[bytes, bytes] = MappingProxyType({})
