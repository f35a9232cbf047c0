"""Every cell of the matrix, in the order of the table."""

from __future__ import annotations

from pathlib import Path

from tests.faults import (
    damaged,
    damaged_identity,
    damaged_log,
    damaged_running,
    disks,
    double,
    killed,
    powercut,
    real,
    refused,
    traced,
)
from tests.faults.cell import Cell


def all_cells(scratch: Path) -> list[Cell]:
    return [
        *killed.cells(scratch),
        *traced.cells(scratch),
        *powercut.cells(scratch),
        *double.cells(scratch),
        *refused.cells(scratch),
        *disks.cells(scratch),
        *damaged.cells(scratch),
        *damaged_log.cells(scratch),
        *damaged_identity.cells(scratch),
        *damaged_running.cells(scratch),
        *real.cells(scratch),
    ]
