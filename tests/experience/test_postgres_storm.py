"""A short storm of `tests.proofs.store_storm`."""

import pytest

from supervisor.experience.postgres.schema import create
from tests.proofs.store_storm import holds, storm
from tests.support.postgres import running_server


@pytest.mark.slow
def test_a_reader_killed_in_a_storm_of_writers_loses_nothing_and_gets_nothing_twice(tmp_path):
    with running_server() as server:
        create(server.url)
        results, kills = storm(server.url, tmp_path, seconds=4.0)
    assert kills >= 2
    assert holds(results), results
