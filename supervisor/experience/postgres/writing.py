"""Parcels into the tables, all in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from psycopg import Connection

from supervisor.experience.postgres.encoding import HEADER, TRAILER, encoded
from supervisor.experience.postgres.named_sql import query
from supervisor.experience.store import Parcel, Refused, Stored

Name = tuple[str, str]


def write(connection: Connection[Any], parcels: Sequence[Parcel]) -> list[Stored]:
    """Raises ValueError, before anything is sent, where a parcel's columns do not fit together."""
    rows = [[encoded(target, part) for target, part in parcel.experiences if len(part)] for parcel in parcels]
    with connection.transaction():
        known = _claim(connection, parcels)
        answers = []
        for number, parcel in enumerate(parcels):
            name = (parcel.client, parcel.key)
            if parcel.key and name in known:
                answers.append(replace(known[name], repeated=True))
                rows[number] = []
                continue
            answers.append(Stored(parcel.rows, len(parcel.refused)))
            if parcel.key:
                known[name] = answers[-1]
        fresh = [parcel for parcel, answer in zip(parcels, answers, strict=True) if not answer.repeated]
        _copy(connection, [block for blocks in rows for block in blocks])
        _set_aside(connection, [row for parcel in fresh for row in parcel.refused])
    return answers


def _claim(connection: Connection[Any], parcels: Sequence[Parcel]) -> dict[Name, Stored]:
    """Those of the named parcels that were stored before; the others are noted as stored now."""
    named: dict[Name, Stored] = {}
    for parcel in parcels:
        if parcel.key:
            named.setdefault((parcel.client, parcel.key), Stored(parcel.rows, len(parcel.refused)))
    if not named:
        return {}
    clients, keys = zip(*named, strict=True)
    numbers = [stored.rows for stored in named.values()], [stored.quarantined for stored in named.values()]
    claimed = set(connection.execute(query("writing", "claim"), (list(clients), list(keys), *numbers)).fetchall())
    others = [name for name in named if name not in claimed]
    if not others:
        return {}
    clients, keys = zip(*others, strict=True)
    found = connection.execute(query("writing", "known"), (list(clients), list(keys))).fetchall()
    return {(client, key): Stored(rows, quarantined) for client, key, rows, quarantined in found}


def _copy(connection: Connection[Any], blocks: Sequence[bytes]) -> None:
    if blocks:
        with connection.cursor().copy(query("writing", "rows")) as copy:
            copy.write(b"".join((HEADER, *blocks, TRAILER)))


def _set_aside(connection: Connection[Any], refused: Sequence[Refused]) -> None:
    if refused:
        columns = zip(*((row.target, row.reason, row.detail, row.row) for row in refused), strict=True)
        connection.execute(query("writing", "refused"), [list(column) for column in columns])
