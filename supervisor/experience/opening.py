"""Which store a run uses: the address of the settings, or a file in the run folder."""

from __future__ import annotations

from pathlib import Path

from supervisor.errors import UsageError
from supervisor.experience.books import Books
from supervisor.experience.caretaker import Caretaker
from supervisor.experience.store import ExperienceStore

URL_VARIABLE = "INCUMBENT_EXPERIENCE__URL"
"""Where a trial's process finds the address, which may hold a password."""

DEFAULT_NAME = "experiences.db"
SQLITE = "sqlite:///"
POSTGRES = ("postgresql://", "postgres://")


def is_postgres(url: str) -> bool:
    return url.startswith(POSTGRES)


def sqlite_path(url: str | None, run_dir: Path) -> Path:
    """Where the file lies; `sqlite:////var/x.db` is absolute, `sqlite:///x.db` seen from the working folder.

    Raises UsageError for an address of no kind that there is; it may hold a password and is not repeated.
    """
    if url is None:
        return run_dir / DEFAULT_NAME
    if not url.startswith(SQLITE):
        raise UsageError(
            "experience.url: no address of an experience store; give sqlite:///path or postgresql://user@host/name"
        )
    return Path(url[len(SQLITE) :])


def open_store(url: str | None, run_dir: Path, statement_s: float | None = None) -> ExperienceStore:
    """The store, ready to write and read. An SQLite file is made where there is none; a database is not, and gives up a
    statement that takes longer than `statement_s`.

    Raises UsageError, StoreDownError, NotInitialisedError, DamagedStateError.
    """
    if url is not None and is_postgres(url):
        from supervisor.experience.postgres.store import open_postgres

        return open_postgres(url) if statement_s is None else open_postgres(url, statement_s)
    from supervisor.experience.sqlite.store import SqliteStore

    return SqliteStore(sqlite_path(url, run_dir))


def open_if_there(url: str | None, run_dir: Path, statement_s: float | None = None) -> ExperienceStore | None:
    """The same; None where no address is given and nothing was ever stored in the run folder."""
    if url is None and not (run_dir / DEFAULT_NAME).exists():
        return None
    return open_store(url, run_dir, statement_s)


def caretaker_of(store: ExperienceStore) -> Caretaker:
    """Who looks after an opened store, over its own connection."""
    from supervisor.experience.sqlite.store import SqliteStore

    if isinstance(store, SqliteStore):
        from supervisor.experience.sqlite.caretaker import SqliteCaretaker

        return SqliteCaretaker(store)
    from supervisor.experience.postgres.caretaker import PostgresCaretaker
    from supervisor.experience.postgres.store import PostgresStore

    assert isinstance(store, PostgresStore)
    return PostgresCaretaker(store)


def books_of(store: ExperienceStore) -> Books:
    """The tables of trainings and models beside an opened store, over its own connection."""
    from supervisor.experience.sqlite.store import SqliteStore

    if isinstance(store, SqliteStore):
        from supervisor.experience.sqlite.books import sqlite_books

        return sqlite_books(store.connection, store.path)
    from supervisor.experience.postgres.books import postgres_books
    from supervisor.experience.postgres.store import PostgresStore

    assert isinstance(store, PostgresStore)
    return postgres_books(store)
