"""What the tables of trainings and models say, whatever database they stand in. A test class inherits it and gives
`store`, `rows` (runs a SELECT, tuples of plain values) and `true`."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import threading

import pytest

from supervisor.contract import Reason
from supervisor.errors import DamagedStateError
from supervisor.experience.opening import books_of
from supervisor.lesson import Lesson
from tests.support.records import INTERFACE, make_promotion, make_record

TIME = {"started_at": "2026-01-25T10:00:00.000+00:00", "finished_at": "2026-01-25T10:01:30.500+00:00"}
LESSON = Lesson("aggressive/combat_dqn", 3, "0:0", "0:0", "0:1523", 1523, 0, 64, "v000001", 0)


def taught(iteration, **changes):
    metrics = {"holdout_td_error": 0.25, "reward": 1.0}
    return make_promotion(
        iteration, lesson=LESSON, purpose="continuous", time=TIME, interface=INTERFACE, metrics=metrics, **changes
    )


class BooksConformance:
    @pytest.fixture
    def store(self):
        raise NotImplementedError

    @pytest.fixture
    def rows(self, store):
        raise NotImplementedError

    @pytest.fixture
    def another(self):
        """Opens a further view of the same store, for another thread."""
        raise NotImplementedError

    @pytest.fixture
    def books(self, store):
        return books_of(store)

    def test_a_lesson_is_a_training_a_model_and_a_deployment(self, books, rows):
        books.write(taught(7, improvement=0.032, win_rate=0.62, best_win_rate=0.6))
        (training,) = rows(
            "SELECT iteration, archetype, model_type, cycle, steps_taken, validation_metric, improvement_delta,"
            " deployed, rollback, experiences, version FROM ml_continuous_training_log"
        )
        assert training == (7, "aggressive", "combat_dqn", 3, 100, 0.62, 0.032, True, False, 1523, "v000007")
        (model,) = rows("SELECT version, is_deployed, metrics, onnx_path FROM ml_models")
        metrics = json.loads(model[2]) if isinstance(model[2], str) else model[2]
        assert (model[0], model[1], metrics["val_loss"], metrics["win_rate"]) == ("v000007", True, 0.25, 0.62)
        (deployed,) = rows("SELECT version, active, performance_score, onnx_path, sha256 FROM ml_model_versions")
        assert deployed == ("v000007", True, 0.6, f"models/{7:064x}.onnx", f"{7:064x}")

    def test_a_line_written_again_changes_nothing(self, books, rows):
        for _ in range(2):
            books.write(taught(7))
        counts = [
            rows(f"SELECT count(*) FROM {table}")[0][0]
            for table in ("ml_continuous_training_log", "ml_models", "ml_model_versions")
        ]
        assert counts == [1, 1, 1]

    def test_one_version_of_a_target_is_active_whoever_was_before_and_the_one_before_can_be_found(self, books, rows):
        for line in (taught(1), taught(2), make_promotion(3, "mage/combat_dqn", time=TIME), taught(4, run_id="other")):
            books.write(line)
        active = rows("SELECT archetype, version FROM ml_model_versions WHERE active ORDER BY 1")
        assert active == [("aggressive", "v000004"), ("mage", "v000003")]
        deployed = rows("SELECT archetype, version FROM ml_models WHERE is_deployed ORDER BY 1")
        assert deployed == active

    def test_a_rollback_is_marked_and_what_was_before_is_active_again(self, books, rows):
        for line in (taught(1), taught(2)):
            books.write(line)
        back = make_promotion(
            3, version="v000001", rollbacks=("v000002",), reason=Reason.DEGRADED, promoted=False, purpose="manual"
        )
        books.write(back)
        assert rows("SELECT version FROM ml_model_versions WHERE active") == [("v000001",)]
        marked = rows("SELECT iteration, reason, deployed FROM ml_continuous_training_log WHERE rollback")
        assert marked == [(3, "degraded", False)]

    def test_a_rejected_candidate_is_a_training_and_nothing_else(self, books, rows):
        books.write(make_record(5, time=TIME))
        (training,) = rows("SELECT iteration, improvement_delta, deployed, version FROM ml_continuous_training_log")
        assert training == (5, -0.01, False, None)
        assert rows("SELECT count(*) FROM ml_models") == [(0,)]

    def test_the_last_line_is_known_by_run(self, books):
        assert books.last("run") == 0
        books.write(taught(7))
        assert (books.last("run"), books.last("other")) == (7, 0)

    def test_two_runs_that_promote_a_version_of_one_target_at_the_same_instant_follow_one_another(
        self, books, another, rows
    ):
        lines, together = 25, threading.Barrier(2)

        def write(run_id):
            with contextlib.closing(another()) as store:
                for number in range(1, lines + 1):
                    together.wait(timeout=60)
                    books_of(store).write(taught(number, run_id=run_id))

        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            for end in [threads.submit(write, run_id) for run_id in ("run", "other")]:
                end.result()
        for table in ("ml_model_versions WHERE active", "ml_models WHERE is_deployed"):
            assert rows(f"SELECT version FROM {table}") == [(f"v{lines:06d}",)]
        assert (books.last("run"), books.last("other")) == (lines, lines)

    def test_of_two_folders_that_claim_a_run_at_the_same_instant_one_gets_it(self, store, another):
        together = threading.Barrier(2)

        def claimed(folder_id):
            found = set()
            with contextlib.closing(another()) as store:
                for number in range(25):
                    together.wait(timeout=60)
                    with contextlib.suppress(DamagedStateError):
                        books_of(store).claim(f"run-{number}", folder_id, 5)
                        found.add(number)
            return found

        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            one, two = (end.result() for end in [threads.submit(claimed, folder) for folder in ("one", "two")])
        assert (one | two, one & two) == (set(range(25)), set())

    def test_of_two_copies_of_a_folder_one_may_write(self, books):
        books.claim("run", "one", 5)
        books.claim("run", "one", 6)
        books.claim("other", "two", 6)
        with pytest.raises(DamagedStateError, match="experience\\.url"):
            books.claim("run", "two", 7)
