"""The founding documents' queries, as they are written, on a store with something in it."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg
import pytest

from supervisor.experience.postgres.store import open_postgres
from supervisor.experience.store import Parcel
from tests.support.experiences import experiences
from tests.support.postgres import run_psql, stores

TEXT = Path(__file__).with_name("founding_queries.sql").read_text()
QUERIES = [query.strip() for query in TEXT.split(";")]
NOW = "now() - interval '5 minutes'"
FILL = f"""
    INSERT INTO ml_model_versions (archetype, model_type, version, onnx_path, active, performance_score, deployed_at)
    VALUES ('aggressive', 'combat_dqn', 'v000001', 'models/1.onnx', false, 0.4, {NOW} - interval '1 day'),
           ('aggressive', 'combat_dqn', 'v000002', 'models/2.onnx', false, 0.5, {NOW}),
           ('aggressive', 'combat_dqn', 'v000003', 'models/3.onnx', true, 0.6, now());
    INSERT INTO ml_continuous_training_log (iteration, archetype, model_type, training_start, deployed, rollback,
        validation_metric, improvement_delta, created_at)
    VALUES (1, 'aggressive', 'combat_dqn', {NOW}, true, false, 0.5, 0.02, {NOW} - interval '2 days'),
           (2, 'aggressive', 'combat_dqn', {NOW}, false, true, 0.4, 0, {NOW} - interval '2 days'),
           (3, 'mage', 'skill_dqn', {NOW}, true, true, 0.6, 0.01, {NOW});
    INSERT INTO ml_models (archetype, model_type, version, is_deployed, metrics)
    VALUES ('mage', 'skill_dqn', 'v000003', true, '{{"val_loss": 0.25}}');
"""


@pytest.fixture(scope="module", params=["plain", "partitioned"])
def url(request):
    with stores(request.param) as new_store, new_store() as address:
        store = open_postgres(address)
        lately = experiences(300)
        lately.times[:] = time.time_ns() // 1000 - 60_000_000
        lately.times[:100] -= 7_200_000_000
        store.write([Parcel([("mage/skill_dqn", lately), ("tank/skill_dqn", lately.where(slice(100, 110)))])])
        store.close()
        with psycopg.connect(address) as connection:
            connection.execute(FILL.encode())
        yield address


@pytest.fixture(scope="module")
def answers(url):
    with psycopg.connect(url) as connection:
        return [connection.execute(query.encode()).fetchall() for query in QUERIES]


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_it_runs_as_it_is_written_in_psql_too(url, query):
    assert run_psql(url, query).stdout


def test_they_answer_with_what_is_there(answers):
    previous, recent, deployed, rollbacks, last_hour, one, by_archetype, day, deltas, models, everything = answers
    assert previous == [("v000002", "models/2.onnx")]
    assert [row[-2:] for row in recent] == [(True, True), (True, False), (False, True)]
    assert [(row[2], row[5]) for row in deployed] == [("v000003", 0.6)]
    assert len(rollbacks) == 2
    assert last_hour == [(210,)]
    assert one == [(1,)]
    assert sorted(row[:2] for row in by_archetype) == [("mage", 200), ("tank", 10)]
    assert day == [(1,)]
    assert [row[2] for row in deltas] == [0.6, 0.5]
    assert models == [("mage", "skill_dqn", "v000003", True, "0.25")]
    assert len(everything) == 310


def test_no_two_versions_of_a_target_are_active(url):
    again = (
        "INSERT INTO ml_model_versions (archetype, model_type, version, onnx_path, active) VALUES (%s, %s, %s, '', %s)"
    )
    with psycopg.connect(url) as connection:
        connection.execute(again.encode(), ("aggressive", "combat_dqn", "v000004", False))
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute(again.encode(), ("aggressive", "combat_dqn", "v000005", True))
