"""Tier B: everything real: processes, torch, export, registry, the dashboard's database, server and reloads."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tests.faults import real_external, real_kills, real_limits, real_sites
from tests.faults.cell import TIER_B, Cell
from tests.faults.real_work import LIMIT_S, SHORT, Work

ARENA = Work("arena", iterations=4)
TWO_WORKERS = Work("two workers", iterations=7, environ=SHORT | {"INCUMBENT_RUN__WORKERS": "2"})
NOT_SERVER = ("trial", "fork server", "supervisor", "all")
SAME = "the finished run equals the undisturbed one; nothing is left, no request fails but to a killed server"


def cells(scratch: Path) -> list[Cell]:
    return [
        Cell(
            "real: kill at each place",
            TIER_B,
            SAME,
            lambda folder: real_sites.points(ARENA, scratch),
            partial(real_sites.check, ARENA, scratch),
            limit_s=LIMIT_S,
        ),
        Cell(
            "real: random kills",
            TIER_B,
            SAME,
            lambda folder: real_kills.points(ARENA, scratch, each=9),
            partial(real_kills.check, ARENA, scratch),
            limit_s=LIMIT_S,
        ),
        Cell(
            "real: random kills, two workers",
            TIER_B,
            SAME,
            lambda folder: real_kills.points(TWO_WORKERS, scratch, each=1, kinds=NOT_SERVER),
            partial(real_kills.check, TWO_WORKERS, scratch),
            limit_s=LIMIT_S,
        ),
        *real_limits.cells(ARENA),
        *real_external.cells(scratch),
    ]
