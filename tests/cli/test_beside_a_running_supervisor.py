"""Commands while a real supervisor works in the folder: what it is asked, and what it makes of it."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys

import pytest

from tests.support.command_line import process, started
from tests.support.ports import free_port
from tests.support.processes import ROOT, wait_for


@pytest.fixture(scope="module")
def live(finished_run, tmp_path_factory):
    with started(finished_run.copy(tmp_path_factory.mktemp("live"))) as running:
        yield running


def test_a_second_supervisor_leaves_with_4_and_names_the_first(live):
    answer = process("run", "--run-dir", str(live.folder.run_dir), *live.folder.flags)
    assert answer.code == 4
    assert f"pid {live.process.pid}" in answer.err
    assert "Traceback" not in answer.err
    assert answer.out == ""


def test_status_names_the_running_supervisor_and_its_trial(live):
    status = live.folder.call("status", "--json").json()
    assert status["running"] is True
    assert status["pid"] == live.process.pid
    assert status["iteration"] >= 13
    for trial in status["in_flight"]:
        assert trial["iteration"] > 12
        assert trial["stage"] in ("training", "games", "paired test")
    assert f"running, pid {live.process.pid}; iteration" in live.folder.call("status").out


def test_watching_status_refreshes_until_ctrl_c(live):
    with command_of(live, "status", "--watch") as watching:
        seen = ""
        while seen.count("; iteration ") < 2 and (line := watching.stdout.readline()):
            seen += line
        watching.send_signal(signal.SIGINT)
        assert watching.wait(timeout=30) == 0
    assert "mage/noop" in seen


def test_a_pause_holds_the_run_until_it_is_resumed(live):
    said = len(live.console())
    assert "paused" in live.folder.call("pause").out
    live.wait_until_it_says("paused: asked by a request", after=said)
    assert live.folder.call("status", "--json").json()["paused"] is True
    assert ", paused; iteration" in live.folder.call("status").out
    live.folder.call("resume")
    live.wait_until_it_says("resumed: asked by a request", after=said)
    live.wait_for_iterations(1)
    assert live.folder.call("status", "--json").json()["paused"] is False


def test_an_enqueued_candidate_is_tried_next(live):
    said = len(live.console())
    answer = live.folder.call_with_config("enqueue", "mage/noop", "skill=0.55", "whole=8")
    assert "is tried next" in answer.out
    line = live.wait_until_it_says("mage/noop  enqueued", after=said)
    iteration = int(re.match(r"#(\d+)", line)[1])
    record = next(record for record in live.folder.lines() if record.iteration == iteration)
    assert (record.params["skill"], record.params["whole"]) == (0.55, 8)


def test_the_dashboard_answers_and_cannot_write(live):
    port = free_port()
    with command_of(live, "dashboard", "--port", str(port)) as serving:
        assert f"http://127.0.0.1:{port}/ (read-only" in serving.stdout.readline()
        wait_for("the dashboard answers", lambda: _ask(port, "GET", "/api/studies") is not None)
        status, body = _ask(port, "GET", "/api/studies")
        names = [study["study_name"] for study in body["study_summaries"]]
        assert (status, names) == (200, ["aggressive/noop", "mage/noop"])
        status, _ = _ask(port, "POST", "/api/studies", {"study_name": "mine", "directions": ["maximize"]})
        assert status >= 400
        status, body = _ask(port, "GET", "/api/studies")
        assert [study["study_name"] for study in body["study_summaries"]] == names


def test_stop_saves_and_ends_the_run(live):
    answer = live.folder.call("stop")
    assert answer.code == 0
    assert "stopping" in answer.out
    assert live.process.wait(timeout=60) == 0
    assert live.console()[-1].startswith("Saved at iteration ")
    snapshot = json.loads((live.folder.run_dir / "checkpoint.json").read_bytes())
    assert snapshot["iteration"] == live.folder.lines()[-1].iteration
    assert live.folder.call("status", "--json").json()["running"] is False
    assert not os.listdir(live.folder.run_dir / "requests")


@contextlib.contextmanager
def command_of(live, *arguments):
    """A command that goes on until it is ended, on the live run's folder."""
    command = [sys.executable, "-m", "supervisor", *arguments, "--run-dir", str(live.folder.run_dir)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _ask(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {"Content-Type": "application/json"} if body else {}
        connection.request(method, path, json.dumps(body) if body else None, headers)
        response = connection.getresponse()
        text = response.read()
    except OSError:
        return None
    finally:
        connection.close()
    return response.status, json.loads(text) if text.startswith(b"{") else text
