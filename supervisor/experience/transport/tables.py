"""Experiences as Arrow record batches, which Parquet and Arrow's own files hold."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from supervisor.experience.rows import Experiences
from supervisor.experience.transport.source import MATRICES, WHOLE, Column, SourceError, experiences_of

TARGET_KEY = b"incumbent.target"
TIME = pa.timestamp("us", tz="UTC")
FLAT = {"rewards": pa.float32(), "done": pa.bool_(), "priorities": pa.float32()}
WHOLE_TYPES = {name: TIME if name == "times" else pa.from_numpy_dtype(kind) for name, kind in WHOLE.items()}
NAMES = tuple(Experiences.__dataclass_fields__)


def schema(target: str) -> Any:
    """States and controls are lists, so that rows of several widths may lie in one file."""
    lists = dict.fromkeys(MATRICES, pa.list_(pa.float32()))
    types = {**lists, **FLAT, **WHOLE_TYPES}
    return pa.schema([(name, types[name]) for name in NAMES], {TARGET_KEY: target.encode()})


def batch_of(rows: Experiences, shape: Any) -> Any:
    """A record batch of a schema made above."""
    return pa.record_batch([_array(getattr(rows, name), shape.field(name).type) for name in NAMES], schema=shape)


def _array(values: NDArray[Any], kind: Any) -> Any:
    if values.ndim == 1:
        return pa.array(values, pa.int64()).cast(kind) if kind == TIME else pa.array(values, kind)
    count, width = values.shape
    offsets = (np.arange(count + 1) * width).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.reshape(-1)), type=kind)


def target_in(shape: Any) -> str | None:
    found = (shape.metadata or {}).get(TARGET_KEY)
    return None if found is None else found.decode("utf-8", "replace")


def columns_in(shape: Any) -> dict[str, Column]:
    return {field.name: _column(field) for field in shape}


def _column(field: Any) -> Column:
    kind, numbers = field.type, False
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind, numbers = kind.value_type, True
    if pa.types.is_timestamp(kind) and field.name == "times":
        return Column(field.name, "i", 64, numbers, str(field.type))
    try:
        found = np.dtype(kind.to_pandas_dtype())
    except NotImplementedError:
        found = np.dtype(object)
    return Column(field.name, found.kind, 8 * found.itemsize, numbers, str(field.type))


def experiences_in(batch: Any, time_us: int) -> Iterator[Experiences]:
    """A batch's rows, in blocks of one width. Raises SourceError where a value is missing."""
    wanted = [name for name in NAMES if name in batch.schema.names]
    cells = {name: batch.column(name) for name in wanted}
    for name, array in cells.items():
        if array.null_count:
            row = int(np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0])
            raise SourceError(f"the column {name} has no value in row {row} of a block; leave such rows out")
    widths = np.stack([_lengths(cells[name], batch.num_rows) for name in MATRICES if name in cells], axis=1)
    uneven = widths[:, 0] != widths[:, 1]
    if uneven.any():
        row = int(np.flatnonzero(uneven)[0])
        raise SourceError(
            f"states and next_states have {widths[row, 0]} and {widths[row, 1]} numbers in one row; give equal ones"
        )
    changed = np.flatnonzero((widths[1:] != widths[:-1]).any(axis=1)) + 1
    edges = [0, *changed.tolist(), batch.num_rows]
    for begin, end in itertools.pairwise(edges):
        part = {name: _values(array.slice(begin, end - begin), name) for name, array in cells.items()}
        yield experiences_of(part, end - begin, time_us)


def _lengths(array: Any, count: int) -> NDArray[Any]:
    if pa.types.is_fixed_size_list(array.type):
        return np.full(count, array.type.list_size)
    return np.diff(array.offsets.to_numpy(zero_copy_only=False))


def _values(array: Any, name: str) -> NDArray[Any]:
    if name in MATRICES:
        flat = array.flatten()
        if flat.null_count:
            raise SourceError(f"the column {name} has rows with a number missing; leave such rows out")
        return np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(len(array), len(flat) // max(1, len(array)))
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.timestamp("us", tz=array.type.tz), safe=False).cast(pa.int64())
    return np.asarray(array.to_numpy(zero_copy_only=False))
