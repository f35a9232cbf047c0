"""`incumbent store`: which store a command line means, and making one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

from supervisor.commands.storeoptions import StoreOptions
from supervisor.config.settings import Settings
from supervisor.errors import UsageError
from supervisor.experience.caretaker import Caretaker
from supervisor.experience.opening import caretaker_of, is_postgres, open_store, sqlite_path
from supervisor.experience.store import ExperienceStore, NotInitialisedError
from supervisor.journal import durable

LAYOUTS = ("plain", "partitioned", "hypertable")


@dataclass(frozen=True)
class Opened:
    """A store with what a command does to it. `name` is for people and has no password in it."""

    name: str
    store: ExperienceStore
    caretaker: Caretaker
    settings: Settings


@contextlib.contextmanager
def opened(options: StoreOptions, make: bool = False) -> Iterator[Opened]:
    """Closed at the end. An SQLite store that is not there is made only if asked for.

    Raises ConfigurationError, UsageError, NotInitialisedError, StoreDownError, DamagedStateError.
    """
    settings = options.settings()
    url = _url(settings)
    if url is None or not is_postgres(url):
        path = sqlite_path(url, options.run_dir)
        if make:
            durable.make_folder(path.parent)
        elif not path.exists():
            raise NotInitialisedError(
                f"{path}: no store is there; incumbent store init makes one, --run-dir names another"
            )
    store = open_store(url, options.run_dir)
    try:
        yield Opened(_name(url, options.run_dir), store, caretaker_of(store), settings)
    finally:
        store.close()


def init(options: StoreOptions, layout: str) -> int:
    """Make the store where there is none."""
    if layout not in LAYOUTS:
        raise UsageError(f"--layout {layout}: no such layout; there are {', '.join(LAYOUTS)}")
    url = _url(options.settings())
    if url is not None and is_postgres(url):
        from supervisor.experience.postgres import schema

        [chosen] = [name for name in schema.LAYOUTS if name == layout]
        typer.echo(f"{_name(url, options.run_dir)}: the store is there, layout {schema.create(url, chosen)}")
        return 0
    if layout != "plain":
        raise UsageError(f"--layout {layout}: a store in a file has none; leave it out, or give --url postgresql://…")
    with opened(options, make=True) as it:
        typer.echo(f"{it.name}: the store is there")
    return 0


def migrate(options: StoreOptions) -> int:
    """Bring the store's tables up to date with this program."""
    url = _url(options.settings())
    if url is not None and is_postgres(url):
        from supervisor.experience.postgres import schema

        typer.echo(f"{_name(url, options.run_dir)}: schema {schema.migrate(url)}")
        return 0
    with opened(options) as it:  # which migrates a file
        from supervisor.experience.migrations import migrations

        typer.echo(f"{it.name}: schema {migrations('sqlite')[-1].number}")
    return 0


def _url(settings: Settings) -> str | None:
    url = settings.experience.url
    return None if url is None else url.get_secret_value()


def _name(url: str | None, run_dir: Path) -> str:
    if url is not None and is_postgres(url):
        from supervisor.experience.postgres.address import Address

        return Address.parse(url).place
    return str(sqlite_path(url, run_dir))
