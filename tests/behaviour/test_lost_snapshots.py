"""Checkpoints deleted, edited by hand, corrupted; both gone with the log shortened or gone too."""

import json

import pytest

from supervisor.registry.active import ActiveFile
from tests.support.shell import shell
from tests.support.small_run import comparable

EDIT = "jq '.best_win_rate = 0.999' {0} > edited.json && mv edited.json {0}"
HARM = {
    "deleted": "rm {0}",
    "edited by hand": EDIT,
    "cut off": "truncate -s 1000 {0}",
    "emptied": "truncate -s 0 {0}",
    "another program's": "echo hello > {0}",
    "a flipped digit": """sed -i '0,/"iteration":[0-9]*/s//"iteration":999/' {0}""",
}
BOTH = ("checkpoint.json", "checkpoint.previous.json")


@pytest.fixture(scope="module")
def expected(finished_run, tmp_path_factory):
    """Where an undisturbed run stands three iterations later."""
    run = finished_run.copy(tmp_path_factory.mktemp("expected"))
    assert run.call_with_config("run", "--max-iterations", "15").code == 0
    return comparable(run.lines())


@pytest.fixture
def run(finished_run, tmp_path):
    return finished_run.copy(tmp_path)


def go(run, iterations=15):
    answer = run.call_with_config("run", "--max-iterations", str(iterations))
    assert answer.code == 0, answer.err
    return answer.out


def reasons(run, event):
    lines = map(json.loads, (run.run_dir / "events.jsonl").read_text().splitlines())
    return [line["reason"] for line in lines if line["event"] == event]


def assert_serves_on(run, serving, since):
    """Production is as it was, but for what was promoted behind iteration `since`."""
    promoted = {line.target for line in run.lines() if line.promoted and line.iteration > since}
    now = ActiveFile.read(run.run_dir).targets
    assert now.keys() == serving.targets.keys()
    for target in now.keys() - promoted:
        assert now[target] == serving.targets[target]


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("which", [BOTH[:1], BOTH])
def test_a_harmed_checkpoint_changes_nothing_but_is_told(run, expected, harm, which):
    for name in which:
        shell(HARM[harm].format(name), cwd=run.run_dir)
    out = go(run)
    assert out.splitlines()[0].split("  ")[1].startswith("Resumed from checkpoint: iteration 12, best win rate")
    assert "0.999" not in out
    assert "99.9 %" not in out
    assert comparable(run.lines()) == expected
    told = reasons(run, "checkpoint_damaged")
    assert len(told) == (0 if harm == "deleted" else len(which))
    for name, reason in zip(which, told, strict=False):
        assert name in reason
        assert "is damaged or was edited" in reason
    snapshot = json.loads((run.run_dir / "checkpoint.json").read_bytes())
    assert snapshot["iteration"] == 15
    assert snapshot["best_win_rate"] == max(
        line["best_win_rate"] for line in expected[-2:] if line["best_win_rate"] is not None
    )


@pytest.mark.parametrize("harm", ["deleted", "edited by hand"])
def test_with_both_gone_and_the_log_shortened_the_run_goes_on_with_what_it_serves(run, harm):
    serving = ActiveFile.read(run.run_dir)
    for name in BOTH:
        shell(HARM[harm].format(name), cwd=run.run_dir)
    shell("tail -2 training_log.jsonl > recent && mv recent training_log.jsonl", cwd=run.run_dir)
    out = go(run, 13)
    [reason] = reasons(run, "history_lost")
    assert "no line up to iteration 10" in reason
    assert "Resumed from checkpoint: iteration 12" in out
    assert [line.iteration for line in run.lines()] == [11, 12, 13]
    assert_serves_on(run, serving, since=12)
    go(run, 14)
    assert len(reasons(run, "history_lost")) == 1  # the snapshot holds again what was adopted


def test_with_both_and_the_whole_log_gone_no_number_is_given_twice_and_production_stays(run):
    serving = ActiveFile.read(run.run_dir)
    shell("rm checkpoint*.json training_log.jsonl", cwd=run.run_dir)
    out = go(run, 14)
    [reason] = reasons(run, "history_lost")
    assert "no line up to iteration 12" in reason
    assert "Resumed from checkpoint: iteration 12" in out
    assert [line.iteration for line in run.lines()] == [13, 14]
    assert_serves_on(run, serving, since=12)
    assert run.call("status", "--json").json()["iteration"] == 14


def test_without_anything_but_its_name_a_run_begins_at_its_first_iteration(run, finished_run):
    shell("rm -r checkpoint*.json training_log.jsonl trials models", cwd=run.run_dir)
    go(run, 3)
    assert comparable(run.lines()) == comparable(finished_run.lines()[:3])
