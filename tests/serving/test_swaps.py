"""Many connections ask while versions are swapped and rolled back: every answer is checked. The load and the judgement
are those of `tests.benchmarks.swaps`, which measures the same at length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from supervisor.registry import server_rollbacks
from supervisor.serving.options import ServerOptions
from tests.benchmarks.swaps import judging
from tests.benchmarks.swaps.asking import Asking, Log
from tests.benchmarks.swaps.changes import RELOAD, Change, Changer
from tests.benchmarks.swaps.judging import Faults
from tests.benchmarks.swaps.nets import Size
from tests.benchmarks.swaps.phases import changed, changing, in_turn, there_and_back
from tests.benchmarks.swaps.storm import storm
from tests.support.served_folder import ServedFolder
from tests.support.server_process import ServerProcess

CONNECTIONS = 16
NET = Size("tiny", (32,))
NETWORKS = 4
TURNING, ROLLBACKS, STORM = 3, 10, 12
NONE = Faults(failed=0, wrong=0, stale=0)


@pytest.fixture
def folder(tmp_path: Path) -> ServedFolder:
    folder = ServedFolder(tmp_path / "run")
    networks = [NET.onnx_bytes(seed) for seed in range(NETWORKS)]
    for number in range(TURNING + ROLLBACKS + STORM):
        folder.commit(networks[number % NETWORKS])
    return folder


@pytest.fixture
def server(folder: ServedFolder) -> Iterator[ServerProcess]:
    """The first version is live."""
    with ServerProcess(folder.path, ServerOptions(port=0)) as server, Changer(server.port) as changer:
        changed(changer, RELOAD, "v000001")
        yield server


@pytest.fixture
def asking(server: ServerProcess, folder: ServedFolder) -> Asking:
    seeds = {f"v{number + 1:06d}": number % NETWORKS for number in range(folder.iteration)}
    return Asking(server.port, server.process.pid, NET, seeds, CONNECTIONS)


def test_no_answer_is_failed_wrong_or_stale_while_versions_are_swapped_and_rolled_back(asking: Asking) -> None:
    versions = list(asking.seeds)
    orders = [
        *in_turn(versions[:TURNING], 12),  # each is built anew
        *in_turn(versions[:2], 10),  # both are warm
        *there_and_back(versions[TURNING : TURNING + ROLLBACKS]),
    ]
    phase = changing("test", asking, versions[0], orders, seconds=0.5)
    assert phase.faults == NONE, phase.first_fault
    assert phase.requests > 10 * len(orders)
    assert {kind: times.count for kind, times in phase.acks.items()} == {"reload": 32, "rollback": ROLLBACKS}


def test_orders_of_many_clients_at_once_are_carried_out_one_by_one_and_once(
    asking: Asking, server: ServerProcess
) -> None:
    versions = list(asking.seeds)
    with asking.under_load() as asked:
        met = storm(server, versions[-STORM:], orders=6)
    assert asked.log is not None
    assert list(met.disagreements) == []
    assert judging.faults(asked.log, judging.stale_gone(asked.log, met.gone_s)) == NONE, asked.log.faults
    assert sorted(met.gone_s) == sorted(entry.version for entry in server_rollbacks.read(server.run_dir).entries)
    assert met.gone_s


def log(*answers: tuple[float, float, int]) -> Log:
    """Of (sent, answered, version's number)."""
    sent_s, answered_s, versions = (np.array(column) for column in zip(*answers, strict=True))
    wrong = np.zeros(len(answers), np.int8)
    return Log(("v1", "v2", "v3"), sent_s, answered_s, versions.astype(np.int16), wrong, (), 1.0, 0.0)


def change(begun_s: float, acked_s: float, live: str) -> Change:
    return Change(RELOAD, live, begun_s, acked_s, 200, {"version": live, "changed": True})


CHANGES = [change(1.0, 2.0, "v2"), change(3.0, 4.0, "v3")]
JUDGED = {
    "the old one before the change": ((0.1, 0.2, 0), False),
    "the old one, under way when the change began": ((0.9, 1.5, 0), False),
    "the old one, sent before the acknowledgement": ((1.9, 2.5, 0), False),
    "the old one, sent after the acknowledgement": ((2.1, 2.2, 0), True),
    "the new one before anyone asked for it": ((0.1, 0.2, 1), True),
    "the new one, not yet acknowledged": ((1.1, 1.2, 1), False),
    "the new one": ((2.1, 2.2, 1), False),
    "the first of two during a slow answer": ((1.5, 3.5, 0), False),
    "the second of two during a slow answer": ((1.5, 3.5, 2), False),
    "the one before the last": ((4.1, 4.2, 1), True),
    "a failed one, which counts as that": ((4.1, 4.2, -1), False),
}


@pytest.mark.parametrize("name", JUDGED)
def test_what_counts_as_stale(name: str) -> None:
    answer, stale = JUDGED[name]
    assert judging.stale_in_turn(log(answer), "v1", CHANGES).tolist() == [stale]


def test_what_was_rolled_back_is_stale_ever_after() -> None:
    answers = log((0.5, 1.5, 0), (1.1, 1.2, 0), (1.1, 1.2, 1))
    assert judging.stale_gone(answers, {"v1": 1.0}).tolist() == [False, True, False]


def test_failed_wrong_and_stale_are_counted_apart() -> None:
    answers = replace(log((0, 1, 0), (0, 1, -1), (0, 1, 1)), wrong=np.array([1, 0, 0], np.int8))
    assert judging.faults(answers, np.array([False, False, True])) == Faults(failed=1, wrong=1, stale=1)


def test_an_answer_is_beside_a_change_where_their_times_meet() -> None:
    answers = log((0.1, 0.9, 0), (0.9, 1.1, 0), (1.9, 2.1, 0), (2.1, 2.9, 0), (2.1, 9.0, 0), (4.1, 4.2, 0))
    assert judging.beside(answers, CHANGES).tolist() == [False, True, True, False, True, False]
