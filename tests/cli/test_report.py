"""`incumbent report` on the folder of a real run: its table, its JSON, its page, and what it leaves with."""

from __future__ import annotations

import gzip
import json
from html.parser import HTMLParser

import pytest

from supervisor.promotion.wilson import wilson_interval
from tests.support.command_line import TARGETS, call


@pytest.fixture
def run(finished_run, tmp_path):
    return finished_run.copy(tmp_path)


def lines_of(run, target):
    return [line for line in run.lines() if line.target == target]


def files_of(run):
    return {path: path.read_bytes() for path in run.run_dir.rglob("*") if path.is_file()}


def test_the_table_has_a_line_per_target_with_what_the_log_says(finished_run):
    answer = finished_run.call("report")
    assert answer.code == 0
    titles, *rows = answer.out.splitlines()
    assert [row.split()[0] for row in rows] == list(TARGETS)
    assert len({len(row) for row in (titles, *rows)}) == 1
    for target, row in zip(TARGETS, rows, strict=True):
        lines = lines_of(finished_run, target)
        for line in (lines[0], lines[-1]):
            low, high = wilson_interval(line.pool.score, line.pool.games)
            assert f"{100 * line.best_win_rate:.1f} % ({100 * low:.1f} to {100 * high:.1f})" in row
        assert [line.version for line in lines if line.promoted][-1] in row
        assert row.split()[1] == str(len(lines))


def test_json_holds_every_change_and_the_curve(finished_run):
    answer = finished_run.call("report", "--json")
    assert answer.code == 0
    found = answer.json()
    assert found["run_id"] == finished_run.lines()[0].run_id
    for target in TARGETS:
        lines, told = lines_of(finished_run, target), found["targets"][target]
        assert [change["after"]["version"] for change in told["changes"]] == [
            line.version for line in lines if line.promoted
        ]
        assert [point["win_rate"] for point in told["curve"]] == [line.best_win_rate for line in lines]
        assert told["promotions"] == sum(line.is_promotion_by_test for line in lines)
        assert told["gained"] == pytest.approx(sum(line.improvement for line in lines))
        assert told["present"]["ci_low"] < told["present"]["win_rate"] < told["present"]["ci_high"]


def test_the_page_is_one_file_and_nothing_else_is_written(run, tmp_path):
    before = files_of(run)
    path = tmp_path / "report.html"
    answer = run.call("report", "--html", str(path))
    assert answer.code == 0
    assert str(path) in answer.out
    text = path.read_text()
    HTMLParser().feed(text)
    assert text.count("<svg ") == len(TARGETS)
    assert all(f">{target}</h2>" in text for target in TARGETS)
    assert files_of(run) == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["report.html", "run"]
    run.call("report", "--html", str(path))
    assert path.read_text() == text


def test_page_and_json_together_leave_the_json_alone_on_the_output(finished_run, tmp_path):
    answer = finished_run.call("report", "--json", "--html", str(tmp_path / "report.html"))
    assert set(answer.json()["targets"]) == set(TARGETS)
    assert "report.html" in answer.err


def test_rotated_lines_are_reported_too(run):
    whole = run.call("report", "--json").json()
    log = run.run_dir / "training_log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    with gzip.open(run.run_dir / "training_log-20260101.jsonl.gz", "wb") as stream:
        stream.write(b"".join(lines[:7]))
    log.write_bytes(b"".join(lines[7:]))
    assert run.call("report", "--json").json() == whole


def test_of_a_log_that_was_shortened_it_reports_what_is_left(run):
    log = run.run_dir / "training_log.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[7:]))
    told = run.call("report", "--json").json()["targets"]
    assert sum(one["iterations"] for one in told.values()) == 5


def test_targets_are_chosen_by_key_or_glob(finished_run):
    assert list(finished_run.call("report", "--targets", "mage/*", "--json").json()["targets"]) == ["mage/noop"]
    assert list(finished_run.call("report", "--targets", ",".join(TARGETS), "--json").json()["targets"]) == [*TARGETS]


def test_a_target_that_is_not_there_is_named_with_the_nearest(finished_run, tmp_path):
    path = tmp_path / "report.html"
    answer = finished_run.call("report", "--targets", "mage/nop", "--html", str(path))
    assert answer.code == 2
    assert "'mage/nop': the log has no such target" in answer.err
    assert "mage/noop" in answer.err
    assert not path.exists()


def test_since_leaves_earlier_lines_out(finished_run):
    lines = finished_run.lines()
    since = str(lines[6].time["finished_at"])
    told = finished_run.call("report", "--since", since, "--json").json()["targets"]
    later = [line for line in lines if str(line.time["finished_at"]) >= since]
    assert sum(one["iterations"] for one in told.values()) == len(later)
    assert (
        sum(
            one["iterations"]
            for one in finished_run.call("report", "--since", "52w", "--json").json()["targets"].values()
        )
        == 12
    )


def test_where_nothing_happened_since_it_says_so(finished_run, tmp_path):
    path = tmp_path / "report.html"
    answer = finished_run.call("report", "--since", "2100-01-01")
    assert answer.code == 0
    assert "no iteration since 2100-01-01 00:00:00 UTC" in answer.out
    assert finished_run.call("report", "--since", "2100-01-01", "--html", str(path)).code == 0
    assert "No iteration since" in path.read_text()


@pytest.mark.parametrize("since", ["yesterday", "7", "2026-99-01", ""])
def test_a_time_that_is_none_is_refused_with_what_may_be_given(finished_run, since):
    answer = finished_run.call("report", "--since", since)
    assert answer.code == 2
    assert "give 90m, 24h, 7d or 2w, or a time such as" in answer.err


def test_a_folder_without_a_run_is_refused(tmp_path):
    answer = call("report", "--run-dir", str(tmp_path / "none"))
    assert answer.code == 2
    assert "holds no run" in answer.err


def test_before_the_first_iteration_there_is_nothing_to_report(run, tmp_path):
    (run.run_dir / "training_log.jsonl").unlink()
    answer = run.call("report")
    assert answer.code == 0
    assert "no iteration" in answer.out


def test_a_file_that_cannot_be_written_is_refused_and_named(finished_run, tmp_path):
    for path, said in ((tmp_path, "is a folder"), (tmp_path / "none" / "r.html", "name a file in a folder")):
        answer = finished_run.call("report", "--html", str(path))
        assert answer.code == 2
        assert str(path) in answer.err
        assert said in answer.err


def test_a_damaged_line_is_named_and_left_to_the_operator(run):
    log = run.run_dir / "training_log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:3], b"no line\n", *lines[4:]]))
    answer = run.call("report")
    assert answer.code == 6
    assert f"{log}:4: not a JSON line" in answer.err


def test_lines_of_another_run_are_not_mixed_in(run):
    log = run.run_dir / "training_log.jsonl"
    lines = [json.loads(line) | {"run_id": "another"} for line in log.read_text().splitlines()]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    answer = run.call("report")
    assert answer.code == 6
    assert "another" in answer.err
