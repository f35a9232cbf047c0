"""A database's address: what we add to it, and how it is named to people."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from supervisor.errors import UsageError

DEFAULTS: dict[str, str | int] = {
    "connect_timeout": 10,
    "application_name": "incumbent",
    # a server that is gone without a word is noticed within a minute, while reading and while writing
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
ENCODING = "utf8"
"""Whatever the address says: texts go into messages as these bytes."""
HIDDEN = "***"


@dataclass(frozen=True)
class Address:
    conninfo: str = field(repr=False)  # with the password
    place: str  # for people
    secrets: tuple[str, ...] = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> Address:
        """Of `postgresql://user@host/name` or `host=… dbname=…`; what it sets itself is kept. Raises UsageError."""
        try:
            given = conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            message = "the database's address cannot be read; give postgresql://user@host/name"
            raise UsageError(message) from None  # the error before holds the address, password and all
        password = str(given.get("password") or "")
        host = given.get("host") or given.get("hostaddr") or "this machine"
        place = f"PostgreSQL at {host}" + (f", database {given['dbname']}" if given.get("dbname") else "")
        secrets = tuple({password, quote(password, safe="")} - {""})
        added = {name: value for name, value in DEFAULTS.items() if name not in given}
        return cls(make_conninfo(url, **added, client_encoding=ENCODING), place, secrets)

    def without_secrets(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, HIDDEN)
        return text
