"""How the rows lie in the table: ours, or one that somebody else made."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from supervisor.experience.store import NotInitialisedError, Position, Selection

TABLE = "ml_experience_replay"


class Numbers(enum.Enum):
    """What a column of several numbers is sent as."""

    BYTES = "bytea"  # little-endian float32
    REAL = "real[]"
    DOUBLE = "double precision[]"
    JSON = "text"
    NONE = "bytea "  # there is no such column


KINDS = {"bytea": Numbers.BYTES, "_float4": Numbers.REAL, "_float8": Numbers.DOUBLE}
KINDS |= dict.fromkeys(("json", "jsonb", "text"), Numbers.JSON)
KINDS |= dict.fromkeys(("_int2", "_int4", "_int8", "_numeric"), Numbers.DOUBLE)
WHOLE = ("int2", "int4", "int8")
SEVERAL = tuple(KINDS)

DEFAULTS = {
    "action": "0::integer",
    "reward": "'NaN'::real",
    "done": "false",
    "priority": "1::real",
    "episode": "0::bigint",
    "step": "0::integer",
    "version": "0::integer",
    "timestamp": "to_timestamp(0)",
}
TYPES = {name: text.rpartition("::")[2] for name, text in DEFAULTS.items() if "::" in text}
TYPES |= {"done": "boolean", "timestamp": "timestamptz"}
SHORT = {"integer": "int4", "real": "float4", "bigint": "int8", "boolean": "bool", "timestamptz": "timestamptz"}
ESSENTIAL = ("id", "archetype", "state", "reward", "next_state", "done")


@dataclass(frozen=True)
class Table:
    """`columns` are the table's, by name, with the names of their types; those of `never_null` have always a value."""

    columns: Mapping[str, str]
    never_null: frozenset[str] = frozenset()

    @classmethod
    def found(cls, described: Sequence[tuple[str, str, bool]]) -> Table:
        """Raises NotInitialisedError where there is no table, or none that could be read."""
        columns = {name: kind for name, kind, _ in described}
        if not columns:
            raise NotInitialisedError("the database has no table ml_experience_replay; `incumbent store init` makes it")
        missing = [name for name in ESSENTIAL if name not in columns]
        odd = [name for name in ("state", "next_state") if columns.get(name, "bytea") not in SEVERAL]
        odd += [] if columns.get("id", "int8") in WHOLE else ["id"]
        if missing or odd:
            wrong = f"lacks {', '.join(missing)}" if missing else f"has {columns[odd[0]]} as {odd[0]}"
            raise NotInitialisedError(
                f"the table {TABLE} {wrong}: it needs {', '.join(ESSENTIAL)}, states as bytea, real[], float8[] or"
                " jsonb, a whole number as id; change it, or give `incumbent store init` another database"
            )
        return cls(columns, frozenset(name for name, _, never_null in described if never_null))

    @property
    def is_ours(self) -> bool:
        """Rows can be written, and read in the order of their transactions."""
        kinds = {"txid": "xid8", "model_type": "text", "state": "bytea", "next_state": "bytea", "controls": "bytea"}
        return all(self.columns.get(name) == kind for name, kind in kinds.items()) and DEFAULTS.keys() <= set(
            self.columns
        )

    @property
    def has_txid(self) -> bool:
        return self.columns.get("txid") == "xid8"

    @property
    def states(self) -> Numbers:
        return KINDS[self.columns["state"]]

    @property
    def next_states(self) -> Numbers:
        return KINDS[self.columns["next_state"]]

    @property
    def controls(self) -> Numbers:
        return KINDS.get(self.columns[self._controls], Numbers.NONE) if self._controls else Numbers.NONE

    @property
    def _controls(self) -> str | None:
        """A table without `controls` may hold them as actions."""
        if "controls" in self.columns:
            return "controls"
        return "action" if self.columns.get("action") in SEVERAL else None

    @property
    def txid(self) -> sql.SQL:
        return sql.SQL("txid" if self.has_txid else "'0'::xid8")

    def selected(self) -> sql.Composed:
        """What `decoding` expects, in its order: numbers of fixed size that are never null, then those that are not."""
        fixed = [self._fixed(name) for name in DEFAULTS]
        several = [
            self._several("state", self.states),
            self._several("next_state", self.next_states),
            self._several(self._controls, self.controls),
        ]
        return sql.SQL(", ").join([self.txid, sql.SQL("id::bigint"), *map(sql.SQL, fixed + several)])

    def _fixed(self, name: str) -> str:
        kind, default = self.columns.get(name), DEFAULTS[name]
        if kind is None or kind in SEVERAL:
            return default
        if name in self.never_null and kind == SHORT.get(TYPES[name]):
            return f'"{name}"'
        if name == "done" and kind != "bool":
            return f"coalesce({name} <> 0, false)"
        if name == "action" and kind not in WHOLE:
            return f"coalesce({name}::numeric::{TYPES[name]}, {default})"
        return f'coalesce("{name}"::{TYPES[name]}, {default})'

    def _several(self, name: str | None, kind: Numbers) -> str:
        return "''::bytea" if kind is Numbers.NONE or name is None else f"{name}::{kind.value}"

    def chosen(self, selection: Selection) -> sql.Composed:
        conditions: list[sql.Composable] = [sql.SQL("archetype = {}").format(selection.archetype)]
        if "model_type" in self.columns:
            conditions.append(sql.SQL("model_type = {}").format(selection.model_type))
        if selection.min_priority > 0 and "priority" in self.columns:
            conditions.append(sql.SQL("priority >= {}").format(selection.min_priority))
        if selection.since_us is not None and "timestamp" in self.columns:
            condition = "\"timestamp\" >= to_timestamp(0) + {} * interval '1 microsecond'"
            conditions.append(sql.SQL(condition).format(selection.since_us))
        if selection.width is not None:
            conditions.append(sql.SQL(self._width()).format(selection.width))
        return sql.SQL(" AND ").join(conditions)

    def _width(self) -> str:
        if self.states is Numbers.BYTES:
            return "octet_length(state) = 4 * {}"
        return "jsonb_array_length(state::jsonb) = {}" if self.states is Numbers.JSON else "cardinality(state) = {}"

    def beyond(self, position: Position, comparison: str) -> sql.Composed:
        """Rows `>` or `<=` a position, in a form that the index serves."""
        if self.has_txid:
            form = sql.SQL("(txid, id) {} ({}::xid8, {})")
            return form.format(sql.SQL(comparison), str(position.txid), position.id)
        return sql.SQL("id {} {}").format(sql.SQL(comparison), position.id)

    def order(self, descending: bool = False) -> sql.SQL:
        """By the columns themselves: a bare name would be what a query makes of the column, which no index serves."""
        names = [f"{TABLE}.{name}" for name in (("txid", "id") if self.has_txid else ("id",))]
        return sql.SQL(", ".join(f"{name} DESC" if descending else name for name in names))

    def final(self) -> sql.SQL:
        """Rows before which none can come any more. Without txid nobody knows."""
        return sql.SQL("txid < pg_snapshot_xmin(pg_current_snapshot())" if self.has_txid else "true")

    def target(self) -> sql.SQL:
        return sql.SQL("archetype || '/' || " + ("model_type" if "model_type" in self.columns else "'*'"))

    def time(self) -> sql.SQL:
        """Microseconds since 1970."""
        return sql.SQL("(extract(epoch FROM {}) * 1000000)::bigint".format(self._fixed("timestamp")))
