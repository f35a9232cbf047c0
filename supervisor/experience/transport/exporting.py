"""A target's rows out of a store into a file of one of the formats."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from supervisor.errors import UsageError
from supervisor.experience.store import BEGINNING, ExperienceStore, Selection
from supervisor.experience.transport.files import FORMATS, open_writer
from supervisor.experience.transport.source import chunks
from supervisor.journal import durable


def path_of(output: Path, target: str, kind: str) -> Path:
    """`OUTPUT/archetype/model_type.parquet`; of a Minari dataset the folder `OUTPUT/archetype/model_type-v0`."""
    return output / f"{target}{FORMATS[kind]}"


def exported(store: ExperienceStore, selection: Selection, kind: str, path: Path) -> int:
    """How many rows the file has, all that can be read now; in its place once it is whole. Raises UsageError where rows
    of several widths do not fit or a dataset is there already, StoreDownError, OSError."""
    newest = store.newest(selection)
    if newest is None:
        raise UsageError(f"{selection.target}: the store has no such rows; incumbent store stats shows what there is")
    if kind == "minari" and path.exists():
        raise UsageError(f"{path} is there already; move it away, or give another --output")
    durable.make_folder(path.parent)
    written = path.with_name(f".{path.name}.tmp")
    _clear(written)
    rows = 0
    try:
        writer = open_writer(kind, written, selection.target)
        # short pages: a store holds several of them at a time
        for chunk in chunks(page.rows for page in store.stream(selection, BEGINNING, newest)):
            writer.write(chunk)
            rows += len(chunk)
        writer.close()
    except ValueError as error:
        raise UsageError(f"{selection.target}: {error}; choose one with --width") from error
    if written.is_dir():
        os.rename(written, path)
    else:
        durable.publish(path, written)
    return rows


def _clear(written: Path) -> None:
    """What an export that was killed has left."""
    shutil.rmtree(written, ignore_errors=True)
    for rest in written.parent.glob(f"{written.name}*"):
        if rest.is_file():
            rest.unlink()
