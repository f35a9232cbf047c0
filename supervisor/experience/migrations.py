"""The numbered SQL files that make a store what this program expects, in order."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class Migration:
    """`number` is the store's schema once it has run."""

    number: int
    name: str
    sql: str


def migrations(dialect: str) -> list[Migration]:
    """All of a dialect, `sqlite` or `postgres`, the first one first."""
    folder = resources.files("supervisor.experience") / "sql" / dialect
    found = [file for file in folder.iterdir() if file.name[:3].isdigit() and file.name.endswith(".sql")]
    made = [Migration(int(file.name[:3]), file.name[4:-4], file.read_text(encoding="utf-8")) for file in found]
    return sorted(made, key=lambda migration: migration.number)
