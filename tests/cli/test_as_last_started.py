"""promote and rollback on a stopped run: they keep, tell and write what the run's last start did."""

import http.server
import json
import threading
from dataclasses import replace

import pytest

from supervisor.journal.identity import load_identity, save_identity
from supervisor.registry.active import ActiveFile
from tests.support.command_line import TARGETS, NoopFolder

TO_NOBODY = "serving: {port: 9}\n"  # of the configuration: nobody answers on the discard port


@pytest.fixture
def run(finished_run, tmp_path):
    return finished_run.copy(tmp_path)


@pytest.fixture
def unaddressed(run):
    """The same run with a configuration that says nothing of a server."""
    config = run.run_dir.with_name("unaddressed.yaml")
    config.write_text(run.config.read_text().replace(TO_NOBODY, ""))
    return NoopFolder(run.run_dir, config)


@pytest.fixture
def server(run):
    """Answers as a model server of the folder that serves nothing yet; `reloads` are the targets it was told of."""
    reloads = []
    folder_id = load_identity(run.run_dir).folder_id

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.reply({"folder_id": folder_id, "models": []})

        def do_POST(self):
            target = self.path.removeprefix("/reload/")
            reloads.append(target)
            self.reply({"version": ActiveFile.read(run.run_dir).targets[target].version})

        def reply(self, body):
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield listening.server_address[1], reloads
        listening.shutdown()
        thread.join()


def way_back(run):
    """A target with an earlier version."""
    made = [line.target for line in run.lines() if line.promoted]
    return next(target for target in TARGETS if made.count(target) > 1)


def test_they_keep_as_much_as_the_run_did(run):
    identity = load_identity(run.run_dir)
    assert len(list((run.run_dir / "trials").iterdir())) == 12
    save_identity(run.run_dir, replace(identity, retention={**identity.retention, "retention_trials": 2}))
    versions = {f"{line.iteration:06d}" for line in run.lines() if line.version is not None}
    assert run.call_with_config("rollback", way_back(run)).code == 0
    assert {path.name for path in (run.run_dir / "trials").iterdir()} == versions | {"000012", "000013"}


def test_they_tell_the_server_that_the_run_told(unaddressed, server, monkeypatch):
    port, reloads = server
    monkeypatch.setenv("INCUMBENT_SERVING__PORT", str(port))
    assert unaddressed.call_with_config("run", "--max-iterations", "13").code == 0
    monkeypatch.delenv("INCUMBENT_SERVING__PORT")
    reloads.clear()
    target = way_back(unaddressed)
    answer = unaddressed.call_with_config("rollback", target)
    assert answer.code == 0
    assert target in reloads
    assert "server_silent" not in answer.out


def test_they_tell_it_where_the_run_found_its_administration(unaddressed, server, monkeypatch):
    port, reloads = server
    monkeypatch.setenv("INCUMBENT_SERVING__PORT", "9")
    monkeypatch.setenv("INCUMBENT_SERVING__ADMIN_PORT", str(port))
    assert unaddressed.call_with_config("run", "--max-iterations", "13").code == 0
    assert reloads  # the run's own word went there
    for name in ("PORT", "ADMIN_PORT"):
        monkeypatch.delenv(f"INCUMBENT_SERVING__{name}")
    reloads.clear()
    target = way_back(unaddressed)
    answer = unaddressed.call_with_config("rollback", target)
    assert (answer.code, target in reloads) == (0, True)
    assert "server_silent" not in answer.out


def test_that_no_server_heard_of_the_change_is_said(run):
    target = way_back(run)
    answer = run.call_with_config("rollback", target)
    assert answer.code == 0
    [told] = [line for line in answer.out.splitlines() if "server_silent" in line]
    version = ActiveFile.read(run.run_dir).targets[target].version
    assert f"no server of this folder answers at 127.0.0.1:9, so none was told of {target} {version}." in told
    assert "server_silent" in run.events()


def test_they_make_no_database_for_a_run_that_has_one_elsewhere(run, monkeypatch):
    for path in run.run_dir.glob("study.db*"):
        path.unlink()
    elsewhere = run.run_dir.with_name("elsewhere.db")
    monkeypatch.setenv("INCUMBENT_SEARCH__STORAGE_URL", f"sqlite:///{elsewhere}")
    assert run.call_with_config("run", "--max-iterations", "13").code == 0
    monkeypatch.delenv("INCUMBENT_SEARCH__STORAGE_URL")
    assert elsewhere.exists()
    assert run.call_with_config("rollback", way_back(run)).code == 0
    assert not list(run.run_dir.glob("study.db*"))
