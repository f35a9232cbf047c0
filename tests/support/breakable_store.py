"""A real store that stops, goes down or refuses a parcel when a test says so."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from supervisor.experience.intake.writer import Writer
from supervisor.experience.sqlite.store import SqliteStore
from supervisor.experience.store import Parcel, Stored, StoreDownError

POISON = "poison"


class BreakableStore(SqliteStore):
    """As its world has it."""

    def __init__(self, path: Path, world: World) -> None:
        super().__init__(path)
        self._world = world

    def write(self, parcels: Sequence[Parcel]) -> list[Stored]:
        world = self._world
        world.asked.release()
        world.open.wait()
        if world.down or len(world.commits) == world.most_commits:
            raise StoreDownError(world.down or "the disk is full")
        if any(parcel.key == POISON for parcel in parcels):
            raise ValueError("no store can take this")
        world.commits.append(len(parcels))
        told = super().write(parcels)
        if world.lost:
            raise StoreDownError(world.lost)
        return told


class World:
    """Around one file. `open` is cleared to hold commits back, and `asked` is released by each that begins."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "experiences.db"
        self.open = threading.Event()
        self.open.set()
        self.asked = threading.Semaphore(0)
        self.down = ""  # why nothing is written
        self.lost = ""  # why nobody hears that it was
        self.most_commits = -1  # after so many it is down
        self.opened = 0
        self.commits: list[int] = []  # parcels in each
        self.told: list[str] = []
        self.news = threading.Condition()

    def store(self) -> BreakableStore:
        if self.down:
            raise StoreDownError(self.down)
        self.opened += 1
        return BreakableStore(self.path, self)

    def writer(self, max_waiting_rows: int = 1000, commit_s: float = 0.0) -> Writer:
        return Writer(self.store, lambda _: None, max_waiting_rows, commit_s, self.announce)

    def announce(self, line: str) -> None:
        with self.news:
            self.told.append(line)
            self.news.notify_all()

    def wait_for(self, part: str) -> None:
        """Until the console says so."""
        with self.news:
            assert self.news.wait_for(lambda: any(part in line for line in self.told), timeout=30), self.told
