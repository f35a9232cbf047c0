"""Parquet and Arrow IPC: files and streams of record batches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from supervisor.experience.rows import Experiences
from supervisor.experience.transport.source import CHUNK_ROWS, SourceError, column_mistakes
from supervisor.experience.transport.tables import batch_of, columns_in, experiences_in, schema, target_in

GROUP_ROWS = 16384
"""Rows of one group in a Parquet file, which is what reading it takes in memory."""


class TableFile:
    """A Source: a file of record batches. Raises SourceError where it is none."""

    def __init__(self, path: Path, kind: str) -> None:
        """`kind` is parquet, arrow or arrow_stream."""
        self._path, self._kind = path, kind
        with self._open() as (shape, _):
            self._schema = shape

    @property
    def target(self) -> str | None:
        return target_in(self._schema)

    def mistakes(self) -> list[str]:
        return column_mistakes(columns_in(self._schema))

    def blocks(self, time_us: int) -> Iterator[Experiences]:
        with self._open() as (_, batches):
            for batch in batches:
                if batch.num_rows:
                    yield from experiences_in(batch, time_us)

    @contextlib.contextmanager
    def _open(self) -> Iterator[tuple[Any, Iterator[Any]]]:
        try:
            if self._kind == "parquet":
                with pq.ParquetFile(self._path, pre_buffer=False) as file:
                    yield file.schema_arrow, _groups(file)
                return
            with pa.OSFile(str(self._path)) as stream:
                opened = pa.ipc.open_file(stream) if self._kind == "arrow" else pa.ipc.open_stream(stream)
                yield opened.schema, _batches(opened)
        except (pa.ArrowException, OSError) as error:
            text = " ".join(str(error).split())
            raise SourceError(f"cannot be read ({text}); it is damaged or cut off: fetch it again") from error


def _groups(file: Any) -> Iterator[Any]:
    """A group at a time: what is read ahead of several would be the whole file before long."""
    for number in range(file.num_row_groups):
        yield from file.iter_batches(CHUNK_ROWS, row_groups=[number])


def _batches(opened: Any) -> Iterator[Any]:
    if isinstance(opened, pa.ipc.RecordBatchFileReader):
        for number in range(opened.num_record_batches):
            yield opened.get_batch(number)
    else:
        yield from opened


class ParquetWriter:
    """Rows into a file, a group at a time. The file is whole once it is closed."""

    def __init__(self, path: Path, target: str) -> None:
        self._schema = schema(target)
        # numbers of states hardly ever repeat: a dictionary of them takes time and saves nothing
        self._file = pq.ParquetWriter(path, self._schema, compression="zstd", use_dictionary=False)
        self._waiting: list[Any] = []

    def write(self, rows: Experiences) -> None:
        self._waiting.append(batch_of(rows, self._schema))
        if sum(batch.num_rows for batch in self._waiting) >= GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._file.close()

    def _flush(self) -> None:
        if self._waiting:
            self._file.write_table(pa.Table.from_batches(self._waiting))
            self._waiting = []


class ArrowWriter:
    """Rows into an Arrow IPC file."""

    def __init__(self, path: Path, target: str) -> None:
        self._schema = schema(target)
        self._stream = pa.OSFile(str(path), "wb")
        self._file = pa.ipc.new_file(self._stream, self._schema)

    def write(self, rows: Experiences) -> None:
        self._file.write_batch(batch_of(rows, self._schema))

    def close(self) -> None:
        self._file.close()
        self._stream.close()
