"""Parcels into the tables, all in one transaction: one message to the server."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from psycopg import Connection, sql
from psycopg.abc import Buffer

from supervisor.experience.postgres.encoding import HEADER, TRAILER, encoded, encoded_texts
from supervisor.experience.postgres.named_sql import filled, query
from supervisor.experience.postgres.sending import Answer, sent
from supervisor.experience.store import Parcel, Stored

Name = tuple[str, ...]
Parts = Sequence[Sequence[Buffer]]  # of each parcel


def write(connection: Connection[Any], parcels: Sequence[Parcel]) -> list[Stored]:
    """Raises ValueError, before anything is sent, where a parcel's columns do not fit together."""
    rows = [[encoded(target, part) for target, part in parcel.experiences if len(part)] for parcel in parcels]
    refused = [
        [encoded_texts(row.target, row.reason, row.detail, row.row) for row in parcel.refused] for parcel in parcels
    ]
    tables: dict[str, Parts] = {name: parts for name, parts in (("rows", rows), ("refused", refused)) if any(parts)}
    named = _named(parcels)
    statements = [_claim(connection, named)] if named else []
    statements += [query("writing", name) for name in tables]

    def bodies(claimed: list[Answer]) -> list[Sequence[Buffer]]:
        fresh = _fresh(parcels, claimed)
        return [(HEADER, *_chosen(parts, fresh), TRAILER) for parts in tables.values()]

    claimed = connection.wait(sent(connection.pgconn, statements, bodies)) if statements else []
    return _answers(parcels, claimed, {**named, **_known(connection, named.keys() - set(claimed))})


def _named(parcels: Sequence[Parcel]) -> dict[Name, Stored]:
    """What is noted of each name: of the first parcel that has it."""
    named: dict[Name, Stored] = {}
    for parcel in parcels:
        if parcel.key:
            named.setdefault((parcel.client, parcel.key), _whole(parcel))
    return named


def _whole(parcel: Parcel) -> Stored:
    return Stored(parcel.rows, len(parcel.refused))


def _claim(connection: Connection[Any], named: Mapping[Name, Stored]) -> bytes:
    noted = ((*name, stored.rows, stored.quarantined) for name, stored in sorted(named.items(), key=lambda one: one[0]))
    values = sql.SQL(", ").join(sql.SQL("({}, {}, {}, {})").format(*values) for values in noted)
    return filled("writing", "claim", names=values).as_bytes(connection)


def _known(connection: Connection[Any], names: Collection[Name]) -> dict[Name, Stored]:
    """Those that were stored before. Who was forgotten this very moment is not among them."""
    if not names:
        return {}
    clients, keys = zip(*names, strict=True)
    found = connection.execute(query("writing", "known"), (list(clients), list(keys))).fetchall()
    return {(client, key): Stored(rows, quarantined) for client, key, rows, quarantined in found}


def _fresh(parcels: Sequence[Parcel], claimed: Collection[Name]) -> list[bool]:
    """Whether each is stored now. Pure: a name is good for one parcel."""
    left, fresh = set(claimed), []
    for parcel in parcels:
        name = (parcel.client, parcel.key)
        fresh.append(not parcel.key or name in left)
        left.discard(name)
    return fresh


def _chosen(parts: Parts, fresh: Sequence[bool]) -> Iterator[Buffer]:
    for of_one, new in zip(parts, fresh, strict=True):
        if new:
            yield from of_one


def _answers(parcels: Sequence[Parcel], claimed: Collection[Name], known: Mapping[Name, Stored]) -> list[Stored]:
    return [
        _whole(parcel) if fresh else replace(known[parcel.client, parcel.key], repeated=True)
        for parcel, fresh in zip(parcels, _fresh(parcels, claimed), strict=True)
    ]
