"""Requests that this supervisor may not read or remove: told once and left, never the end of the run."""

import json
import os
import shutil

import pytest

from supervisor.journal import requests
from supervisor.journal.events import EVENTS_NAME
from supervisor.journal.log import read_log
from supervisor.journal.requests import Action, Request
from tests.support.rights import SOMEBODY_ELSE, as_anybody, only_root_gives_away
from tests.support.small_run import SmallRun, comparable


@pytest.fixture(autouse=True)
def _rights():
    with as_anybody():
        yield


@pytest.fixture
def run(tmp_path):
    run = SmallRun(tmp_path / "run")
    run.run(2)
    return run


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    run = SmallRun(tmp_path_factory.mktemp("undisturbed") / "run")
    run.run(5)
    return comparable(read_log(run.run_dir).records)


def ask(run, action, name="asked", **fields):
    return requests.drop(run.run_dir, Request(name, 1, action, **fields))


def ignored(run):
    lines = [json.loads(line) for line in (run.run_dir / EVENTS_NAME).read_text().splitlines()]
    return [line["reason"] for line in lines if line["event"] == "request_ignored"]


def lines(run):
    return comparable(read_log(run.run_dir).records)


def test_a_request_that_cannot_be_read_is_ignored(run, undisturbed):
    path = ask(run, Action.STOP)
    path.chmod(0)
    run.run(5)
    assert lines(run) == undisturbed
    [told] = ignored(run)
    assert told.startswith(f"{path}: Permission denied: this request is ignored")
    path.chmod(0o644)
    assert run.run(7).iteration == 5


@pytest.mark.parametrize("mode", [0o555, 0o333, 0o000])
def test_a_folder_that_cannot_be_read_or_written_is_told_once_whatever_lies_in_it(run, undisturbed, mode):
    for number, action in enumerate(Action):
        ask(run, action, str(number), target="mage/noop", params={"skill": 0.9})
    (run.run_dir / "requests" / f".{'1' * 32}.json.tmp").touch()
    os.utime(run.run_dir / "requests" / f".{'1' * 32}.json.tmp", (0, 0))
    (run.run_dir / "requests").chmod(mode)
    run.run(5)
    assert lines(run) == undisturbed
    [told] = ignored(run)
    assert told.startswith(str(run.run_dir / "requests"))
    assert "no request" in told
    (run.run_dir / "requests").chmod(0o755)


@only_root_gives_away
def test_a_request_that_could_not_be_removed_is_carried_out_once_in_a_start(run):
    path = ask(run, Action.ENQUEUE, target="mage/noop", params={"skill": 0.95})
    os.chown(path, SOMEBODY_ELSE, -1)
    (run.run_dir / "requests").chmod(0o1777)
    os.chown(run.run_dir / "requests", SOMEBODY_ELSE, -1)  # sticky: each removes only what is his
    run.run(5)
    assert [record.sampler for record in read_log(run.run_dir).records].count("enqueued") == 1
    [told] = ignored(run)
    assert told.startswith(f"{path}: could not be removed")


def test_where_only_its_owner_may_remove_it_a_request_is_not_begun(run, undisturbed, monkeypatch):
    path = ask(run, Action.ENQUEUE, target="mage/noop", params={"skill": 0.95})
    (run.run_dir / "requests").chmod(0o1777)
    monkeypatch.setattr(requests.os, "geteuid", lambda: SOMEBODY_ELSE)
    run.run(5)
    assert lines(run) == undisturbed
    [told] = ignored(run)
    assert told.startswith(f"{path}: only its owner may remove it")


def test_a_copy_of_a_request_is_none(run):
    path = ask(run, Action.ENQUEUE, target="mage/noop", params={"skill": 0.95})
    shutil.copy(path, path.with_name("copy.json"))
    run.run(6)
    assert [record.sampler for record in read_log(run.run_dir).records].count("enqueued") == 1
    assert "copy.json" in ignored(run)[0]


def test_a_pipe_is_not_waited_for(run, undisturbed):
    (run.run_dir / "requests").mkdir()
    os.mkfifo(run.run_dir / "requests" / "pipe.json")
    run.run(5)
    assert lines(run) == undisturbed
    assert "pipe.json" in ignored(run)[0]
