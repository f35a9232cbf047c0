"""The log rotated, compressed, shortened and edited while it is written: what is said, and what is never lost."""

import gzip
import json
import re
import shutil
import time

import pytest

from supervisor.errors import TryAgainError
from supervisor.journal.log import LOG_NAME, encode, read_log
from tests.support import rotation
from tests.support.command_line import started
from tests.support.processes import wait_for
from tests.support.readme import commands
from tests.support.rotation import needs_logrotate
from tests.support.shell import shell
from tests.support.small_run import SmallRun, comparable
from trainers import worker

TPE = {"search": {"sampler": "tpe"}}  # it learns from every line that the log holds


class Killed(BaseException):
    """Stands for SIGKILL inside this process: nothing in between may catch it."""


def lines(run):
    return read_log(run.run_dir).records


def events(run):
    rotated = [gzip.decompress(path.read_bytes()).decode() for path in sorted(run.run_dir.glob("events-*.jsonl.gz"))]
    newest = [path.read_text() for path in run.run_dir.glob("events.jsonl")]  # none if nothing happened since
    return [json.loads(line) for text in [*rotated, *newest] for line in text.splitlines()]


def meddling(run, what, at):
    """A worker in whose trials somebody works on the run's log."""

    def work(folder):
        if int(folder[-6:]) in at:
            what(run.run_dir)
        return worker.main(folder)

    return work


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    run = SmallRun(tmp_path_factory.mktemp("undisturbed") / "run", settings=TPE)
    run.run(24)
    return run


@pytest.fixture
def run(tmp_path):
    return SmallRun(tmp_path / "run", settings=TPE)


@pytest.mark.parametrize(
    ("what", "at"),
    [
        (rotation.gzip, (14,)),
        (rotation.copy_and_truncate, (14,)),
        pytest.param(rotation.logrotate, (8, 14), marks=needs_logrotate),
    ],
)
def test_a_log_that_is_rotated_and_compressed_loses_nothing_and_the_search_learns_from_all_of_it(
    run, undisturbed, what, at
):
    run.run(20, worker_main=meddling(run, what, at))
    rewritten = [event["reason"] for event in events(run) if event["event"] == "log_rewritten"]
    assert len(rewritten) == len(at)
    assert all("0 lines newer than the snapshot were written again" in reason for reason in rewritten)
    held = read_log(run.run_dir)
    assert (held.breaks, held.unreadable) == ((), ())
    assert comparable(held.records) == comparable(lines(undisturbed)[:20])
    run.run(24)
    assert comparable(lines(run)) == comparable(lines(undisturbed))


def test_what_gzip_is_still_reading_when_lines_are_added_is_written_again(run, undisturbed):
    """gzip holds the old file open: what is appended behind its last read is in no file any more."""

    def work(folder):
        if folder.endswith("000014"):
            shell("gzip --keep training_log.jsonl", cwd=run.run_dir)
        if folder.endswith("000016"):
            (run.run_dir / LOG_NAME).unlink()
        return worker.main(folder)

    run.run(20, worker_main=work)
    [event] = [event for event in events(run) if event["event"] == "log_rewritten"]
    assert "2 lines newer than the snapshot were written again" in event["reason"]
    assert comparable(lines(run)) == comparable(lines(undisturbed)[:20])


@pytest.mark.parametrize("what", [rotation.shorten, rotation.move_away])
def test_where_lines_are_gone_the_search_learns_from_the_rest_before_and_after_a_restart_alike(tmp_path, what):
    runs = [SmallRun(tmp_path / name, settings=TPE) for name in ("whole", "pieces")]
    for run in runs:
        for iterations in (30,) if run is runs[0] else (16, 23, 30):
            run.run(iterations, worker_main=meddling(run, what, (14,)))
        assert [event["event"] for event in events(run)].count("log_rewritten") == 1
        assert [line.iteration for line in lines(run)] == list(range(11, 31))
        assert read_log(run.run_dir).breaks == ()
    assert comparable(lines(runs[0])) == comparable(lines(runs[1]))


def test_who_clears_everything_away_while_it_runs_costs_nothing_but_the_history(tmp_path):
    """Log shortened and both checkpoints deleted at one time, then a kill: the state was made durable at once."""

    def clear_away(run_dir):
        rotation.shorten(run_dir)
        shell("rm checkpoint*.json", cwd=run_dir)

    def work(folder):
        if folder.endswith("000014"):
            clear_away(run.run_dir)
        if folder.endswith("000016"):
            raise Killed
        return worker.main(folder)

    run, undisturbed = SmallRun(tmp_path / "run"), SmallRun(tmp_path / "undisturbed")
    with pytest.raises(Killed):
        run.run(20, worker_main=work)
    run.run(20)
    undisturbed.run(20)
    assert "history_lost" not in [event["event"] for event in events(run)]
    assert comparable(lines(run)) == comparable(lines(undisturbed)[10:])


def test_a_line_that_somebody_edits_before_it_is_in_a_snapshot_is_written_again_as_it_was(run, undisturbed):
    def edit(run_dir):
        data = (run_dir / LOG_NAME).read_bytes()
        *before, last = data.splitlines(keepends=True)
        (run_dir / LOG_NAME).write_bytes(b"".join(before) + re.sub(rb'"wins":(\d)', rb'"wins":9', last, count=1))

    run.run(20, worker_main=meddling(run, edit, (14,)))
    assert "log_rewritten" in [event["event"] for event in events(run)]
    run.run(24)
    assert comparable(lines(run)) == comparable(lines(undisturbed))


def test_lines_that_this_supervisor_did_not_write_make_it_start_again_from_disk(run, undisturbed):
    def another_writes(run_dir):
        with (run_dir / LOG_NAME).open("ab") as stream:
            stream.write(encode(lines(undisturbed)[13]))

    with pytest.raises(TryAgainError, match="holds iteration 14, which this supervisor did not write"):
        run.run(20, worker_main=meddling(run, another_writes, (14,)))
    run.run(20)
    assert comparable(lines(run)) == comparable(lines(undisturbed)[:20])
    assert (run.run_dir / LOG_NAME).read_bytes().count(b"\n") == 20


def test_the_configuration_for_logrotate_names_what_a_run_writes_and_never_throws_the_log_away():
    text = rotation.CONFIGURATION.read_text()
    blocks = dict(re.findall(r"^/var/lib/incumbent/(\S+) \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL))
    assert set(blocks) == {"training_log.jsonl", "events.jsonl", "training_????????_??????.log"}
    for block in blocks.values():
        assert {"compress", "nocreate", "missingok"} <= set(block.split())
    assert "rotate -1" in blocks["training_log.jsonl"]


@needs_logrotate
@pytest.mark.slow
def test_logrotate_works_beside_a_real_supervisor_again_and_again(finished_run, tmp_path):
    folder = finished_run.copy(tmp_path)
    with started(folder) as live:
        for _ in range(3):
            rotation.logrotate(folder.run_dir)
            began_s = int(time.time())  # the second is part of the rotated files' names
            wait_for("the run goes on", lambda: (folder.run_dir / LOG_NAME).exists())
            wait_for("the next second", lambda began_s=began_s: int(time.time()) > began_s)
        assert len(list(folder.run_dir.glob("training_log-*.jsonl.gz"))) == 3
        said = "\n".join(live.console())
    assert "-- log_rewritten" in said
    assert "history_lost" not in said
    held = read_log(folder.run_dir)
    last = held.records[-1].iteration
    assert [line.iteration for line in held.records] == list(range(1, last + 1))
    assert (held.breaks, held.unreadable) == ((), ())
    assert list(folder.run_dir.glob("events-*.jsonl.gz"))
    assert list(folder.run_dir.glob("training_*_*.log.gz"))
    resumed = folder.call_with_config("run", "--max-iterations", str(last + 3))
    assert f"Resumed from checkpoint: iteration {last}, best win rate" in resumed.out
    undisturbed = finished_run.copy(tmp_path / "undisturbed")
    assert undisturbed.call_with_config("run", "--max-iterations", str(last + 3)).code == 0
    assert comparable(folder.lines()) == comparable(undisturbed.lines())


def test_the_readme_installs_the_configuration_with_the_folder_and_user_put_in(tmp_path):
    [line] = [line for line in commands() if "incumbent.logrotate" in line]
    make, install = line.rsplit(" | ", 1)
    assert install == "sudo tee /etc/logrotate.d/incumbent"
    shutil.copytree(rotation.CONFIGURATION.parent, tmp_path / "tools")
    text = shell(make, cwd=tmp_path)
    assert text.count(f"{tmp_path}/checkpoints/") == 3
    assert "incumbent incumbent" not in text
    assert "/var/lib" not in text
