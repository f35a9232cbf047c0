"""Queries that stand by name in SQL files, `-- name: x` before each."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def script(dialect: str, name: str) -> str:
    """A whole file of `sqlite` or `postgres`."""
    folder = resources.files("supervisor.experience") / "sql" / dialect
    return (folder / f"{name}.sql").read_text(encoding="utf-8")


@cache
def queries(dialect: str, file: str) -> dict[str, str]:
    """Of a file, by the names that stand before them."""
    _, *parts = NAME.split(script(dialect, file))
    return dict(zip(parts[::2], (text.strip() for text in parts[1::2]), strict=True))
