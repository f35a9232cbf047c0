"""What tools/live_circle.py says of a run, and a circle that really goes round."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.support.ports import free_port
from tests.support.processes import ROOT
from tools.live_circle import between_cycles, strength, table, verdict

A, B = "aggressive/combat_dqn", "mage/combat_dqn"


def line(iteration, target, rate, **changes):
    return {
        "iteration": iteration,
        "target": target,
        "best_win_rate": rate,
        "promoted": True,
        "rollbacks": [],
        "purpose": "continuous",
        "reason": "proven",
        "version": f"v{iteration:06d}",
        "lesson": None,
        "time": {"finished_at": "2026-01-25T10:00:00.000+00:00"},
        **changes,
    }


def test_a_circle_that_made_everything_better_has_missed_nothing():
    lines = [line(1, A, 0.1), line(2, B, 0.1), line(3, A, 0.4), line(4, B, 0.3), line(5, A, 0.4, reason="degraded")]
    assert verdict(lines, [A, B], planted=True) == []
    assert strength(lines, A) == [0.1, 0.4, 0.4]


def test_what_a_circle_missed_is_said():
    lines = [line(1, A, 0.1), line(2, B, 0.1), line(3, A, 0.4)]
    missed = verdict(lines, [A, B], planted=True)
    assert [sentence.split(":")[0] for sentence in missed] == [
        B,
        "the weak version that was put into production was not rolled back",
    ]


def test_a_rollback_to_nothing_has_its_line_too():
    told = table([line(3, A, None, version=None, promoted=False, rollbacks=["v000002"], reason="hard_fault")])
    assert "hard_fault" in told[1]


def test_a_weak_version_is_planted_only_right_after_the_last_lesson_of_a_cycle(tmp_path):
    cycle = {"number": 4, "looked_us": 1_000_000_000, "lessons": [{"target": A}, {"target": B}]}
    (tmp_path / "cycle.json").write_text(json.dumps(cycle))
    ended = {"finished_at": "1970-01-01T00:16:50.000+00:00"}
    first, second = (line(n, t, 0.1, lesson={"cycle": 4}, time=ended) for n, t in ((7, A), (8, B)))
    assert not between_cycles(tmp_path, [first], now_s=1011.0)
    assert between_cycles(tmp_path, [first, second], now_s=1011.0)
    assert not between_cycles(tmp_path, [first, second], now_s=1060.0)


@pytest.mark.slow
def test_what_is_played_becomes_lessons_and_the_same_command_goes_on(tmp_path):
    command = [
        sys.executable,
        str(ROOT / "tools" / "live_circle.py"),
        "--run-dir",
        str(tmp_path / "run"),
        "--targets",
        A,
    ]
    said = []
    for minutes in ("0.8", "0.6"):
        given = [*command, "--minutes", minutes, "--port", str(free_port()), "--rate", "1500", "--interval", "10"]
        done = subprocess.run(given, capture_output=True, text=True, timeout=240, check=False)
        said.append(done.stdout + done.stderr)
        assert "Traceback" not in said[-1]
    assert re.search(r"Cycle \d+: [\d,]+ new experiences for aggressive/combat_dqn", "".join(said))
    lines = [json.loads(text) for text in (tmp_path / "run" / "training_log.jsonl").read_text().splitlines()]
    assert [entry["iteration"] for entry in lines] == list(range(1, len(lines) + 1))
    assert any(entry["lesson"] for entry in lines)
