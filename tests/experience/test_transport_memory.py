"""What an import or export takes in memory does not grow with the rows."""

from __future__ import annotations

import pytest

from tests.benchmarks.store_keeping import fill, measure

FEW, MANY = 15_000, 90_000
GROWTH_MIB = 12  # the rows themselves are 37 MiB

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["parquet", "arrow", "npz", "minari"])
def test_six_times_the_rows_take_no_more_memory(tmp_path, kind):
    peaks = {}
    for rows in (FEW, MANY):
        folder = tmp_path / str(rows)
        (folder / kind).mkdir(parents=True)
        fill(None, folder, rows)
        peaks[rows] = [measure(work, None, folder, kind, rows)["peak_mib"] for work in ("export", "import")]
    for few, many in zip(peaks[FEW], peaks[MANY], strict=True):
        assert many - few < GROWTH_MIB
