"""A real run as Prometheus sees it: while it works, after it was killed, beside another one."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from supervisor.contract import Reason, Status
from supervisor.record import Record
from tests.support.command_line import TARGETS, NoopFolder, call
from tests.support.processes import console, kill, start, wait_for
from tests.support.scraping import free_port, port_said, read, samples, scrape

FOUNDING = (
    "ml_continuous_training_cycles_total",
    "ml_continuous_training_models_trained_total",
    "ml_continuous_training_models_deployed_total",
    "ml_continuous_training_rollbacks_total",
    "ml_continuous_training_iteration_duration_seconds_count",
)
OF_THIS_MOMENT = re.compile(r"incumbent_(start|last_turn)_timestamp|incumbent_(disk_free|log)_bytes|_running|_waiting")


@dataclass
class Measured:
    """A supervisor without a limit whose port is known."""

    folder: NoopFolder
    process: subprocess.Popen[bytes]
    port: int

    def scrape(self) -> dict[str, float]:
        return scrape(self.port)

    def pause(self) -> dict[str, float]:
        """What is told once nothing moves any more."""
        self.folder.call("pause")
        wait_for("the pause is told", lambda: self.scrape()["incumbent_paused"] == 1)
        return self.scrape()


@contextlib.contextmanager
def measured(folder: NoopFolder, port: int = 0) -> Iterator[Measured]:
    before = console(folder.run_dir).count("metrics on") if folder.run_dir.exists() else 0
    process = start(folder.run_dir, *folder.flags, environ={"INCUMBENT_RUN__METRICS_PORT": str(port)})
    try:
        wait_for("it says its port", lambda: console(folder.run_dir).count("metrics on") > before)
        yield Measured(folder, process, port_said(console(folder.run_dir)))
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=60)


@pytest.fixture
def folder(finished_run: NoopFolder, tmp_path: Path) -> NoopFolder:
    """Twelve iterations lie behind it."""
    copy = finished_run.copy(tmp_path)
    copy.run_dir.with_name("run.console").touch()
    return copy


def by_label(found: dict[str, float], name: str, label: str) -> Counter[str]:
    """Sums over the other labels, without what is 0."""
    sums: Counter[str] = Counter()
    for key, value in found.items():
        if key.startswith(f"{name}{{"):
            sums[re.findall(rf'{label}="([^"]*)"', key)[0]] += int(value)
    return +sums


def assert_adds_up(found: dict[str, float], lines: tuple[Record, ...]) -> None:
    """The figures against the log, counted in another way."""
    assert found["ml_continuous_training_cycles_total"] == found["incumbent_iteration"] == len(lines)
    trials = [line for line in lines if line.purpose != "manual"]
    complete = [line for line in trials if line.status is Status.COMPLETE]
    assert found["ml_continuous_training_models_trained_total"] == len(complete)
    assert found["ml_continuous_training_models_deployed_total"] == sum(line.promoted for line in lines)
    assert found["ml_continuous_training_rollbacks_total"] == len({name for line in lines for name in line.rollbacks})
    duration = "ml_continuous_training_iteration_duration_seconds"
    assert found[f"{duration}_count"] == found[f'{duration}_bucket{{le="+Inf"}}'] == len(trials)
    assert found[f"{duration}_sum"] == pytest.approx(sum(line.time["duration_s"] for line in trials))
    assert found["incumbent_games_total"] == sum(line.games for line in lines)
    assert by_label(found, "incumbent_iterations_total", "target") == Counter(line.target for line in lines)
    assert by_label(found, "incumbent_iterations_total", "status") == Counter(line.status for line in lines)
    assert by_label(found, "incumbent_reasons_total", "reason") == Counter(line.reason for line in lines)
    tests = Counter(line.decision.outcome for line in lines if line.decision.rule == "paired_e")
    assert by_label(found, "incumbent_tests_total", "outcome") == tests
    for target in TARGETS:
        mine = [line for line in lines if line.target == target]
        assert found[f'incumbent_win_rate{{target="{target}"}}'] == mine[-1].best_win_rate
        assert found[f'incumbent_level{{target="{target}"}}'] == mine[-1].next_level
        promoted = [line for line in mine if line.promoted]
        assert found[f'incumbent_version_iteration{{target="{target}"}}'] == promoted[-1].iteration
        since = len(mine) - 1 - mine.index(promoted[-1])
        assert found[f'incumbent_iterations_since_promotion{{target="{target}"}}'] == since
        delta = next(line.delta for line in reversed(mine) if line.delta is not None)
        assert found[f'ml_model_improvement_delta{{target="{target}"}}'] == delta


def test_what_is_told_is_what_the_log_says_before_and_after_a_kill(folder: NoopFolder) -> None:
    with measured(folder) as run:
        first = run.scrape()
        assert first["incumbent_iteration"] >= 12  # from its first moment, not from 0
        wait_for("it gets on", lambda: run.scrape()["incumbent_iteration"] >= 16)
        paused = run.pause()
        assert_adds_up(paused, folder.lines())
        assert set(FOUNDING) <= set(paused)
        kill(run.process)
    with measured(folder) as run:
        again = run.pause()
        kept = {key: value for key, value in paused.items() if not OF_THIS_MOMENT.search(key)}
        assert {key: again[key] for key in kept} == kept
        assert again["incumbent_start_timestamp_seconds"] > paused["incumbent_start_timestamp_seconds"]
        folder.call("resume")
        wait_for("it gets on", lambda: run.scrape()["incumbent_iteration"] > paused["incumbent_iteration"])
        assert_adds_up(run.pause(), folder.lines())
        run.process.send_signal(signal.SIGINT)
        assert run.process.wait(timeout=60) == 0
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", run.port), timeout=10)


def test_times_tell_a_run_that_stands_from_one_that_goes_on(folder: NoopFolder) -> None:
    with measured(folder) as run:
        paused = run.pause()
        assert paused['incumbent_waiting{reason="paused"}'] == 1
        assert paused['incumbent_waiting{reason="resources"}'] == 0
        assert abs(paused["incumbent_last_turn_timestamp_seconds"] - time.time()) < 60
        assert paused["incumbent_last_commit_timestamp_seconds"] <= paused["incumbent_last_turn_timestamp_seconds"]
        turn = "incumbent_last_turn_timestamp_seconds"
        wait_for("the loop's next turn", lambda: run.scrape()[turn] > paused[turn])
        assert (
            run.scrape()["incumbent_last_commit_timestamp_seconds"]
            == (paused["incumbent_last_commit_timestamp_seconds"])
        )
        assert paused["incumbent_disk_free_bytes"] > 0
        assert paused["incumbent_log_bytes"] > 0


def test_rows_are_as_many_after_an_iteration_as_after_a_hundred(folder: NoopFolder, tmp_path: Path) -> None:
    """But for figures of a target that are not known before its first ones."""
    fresh = NoopFolder.make(tmp_path / "fresh")
    with measured(fresh) as run:
        first = set(samples(read(run.port)))
    with measured(folder) as run:
        later = run.scrape()
    labels = {label for key in later for label in re.findall(r'(\w+)="', key)}
    assert labels == {"target", "status", "reason", "outcome", "le"}
    assert {reason for key in first for reason in re.findall(r'reasons_total{reason="(\w+)"', key)} == set(Reason)
    not_yet = {key.partition("{")[0] for key in set(later) - first}
    assert not_yet <= {
        "incumbent_win_rate",
        "incumbent_version_iteration",
        "incumbent_promotion_gain",
        "ml_model_improvement_delta",
        "incumbent_last_commit_timestamp_seconds",
        "incumbent_log_bytes",
    }


def test_two_runs_on_one_port_both_run_and_the_second_says_that_it_is_not_measured(
    folder: NoopFolder, tmp_path: Path
) -> None:
    second = folder.copy(tmp_path / "second")
    port = free_port()
    with measured(folder, port):
        limited = (*second.flags, "--max-iterations", "14")
        process = start(second.run_dir, *limited, environ={"INCUMBENT_RUN__METRICS_PORT": str(port)})
        assert process.wait(timeout=120) == 0
        assert scrape(port)["incumbent_iteration"] >= 12
    text = console(second.run_dir)
    assert "metrics on" not in text
    assert text.count("-- unmeasured: ") == 1
    assert "run.metrics_port" in text
    assert second.lines()[-1].iteration == 14
    assert second.events().count("unmeasured") == 1


def test_a_command_that_leaves_at_once_and_a_run_told_so_open_no_port(
    folder: NoopFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INCUMBENT_RUN__METRICS_PORT", "0")
    done = folder.call_with_config("rollback", "mage/noop")
    assert (done.code, "metrics on" in done.out) == (0, False), done
    assert "metrics on" in folder.call_with_config("run", "--single-iteration").out
    assert "metrics" not in {thread.name for thread in threading.enumerate()}
    monkeypatch.setenv("INCUMBENT_RUN__METRICS_PORT", "null")
    assert "metrics" not in folder.call_with_config("run", "--single-iteration").out


def test_the_port_is_no_part_of_what_a_run_is() -> None:
    shown = call("validate", "--show").out
    assert re.search(r"^run\.metrics_port +\S+ +environment INCUMBENT_RUN__METRICS_PORT$", shown, re.MULTILINE), shown
    assert re.search(r"^run\.metrics_host +127\.0\.0\.1 +default$", shown, re.MULTILINE), shown
