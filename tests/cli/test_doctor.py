"""`incumbent doctor` answers whatever address and folder it is asked about."""

import json
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from supervisor.commands import doctor
from supervisor.commands.doctor import Finding
from supervisor.experience.sqlite.store import SqliteStore
from supervisor.metrics.endpoint import Endpoint
from supervisor.metrics.exposition import RunMetrics
from supervisor.metrics.figures import Figures
from supervisor.serving.listening import listen
from supervisor.state import State
from tests.support.command_line import call


class Silent(BaseHTTPRequestHandler):
    """Any other program's server."""

    def do_GET(self):
        self.send_error(404)

    def log_message(self, *words):
        pass


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """The findings by name, of the port and the folder; what takes a process of its own is left out."""
    monkeypatch.setattr(doctor, "_trial_process", lambda: Finding("trial process", True, "left out"))

    def asked(run_dir=tmp_path, **serving):
        config = tmp_path / "settings.yaml"
        config.write_text(json.dumps({"serving": serving}))
        answer = call("doctor", "--run-dir", str(run_dir), "--config", str(config), "--json")
        assert answer.err == ""
        found = {finding["name"]: finding for finding in answer.json()["findings"]}
        assert answer.code == int(any(finding["ok"] is False for finding in found.values()))
        return found

    return asked


def test_a_free_port_is_said_to_be_free(ask):
    assert ask(port=0)["port"] == {"name": "port", "ok": True, "text": "0 on 127.0.0.1 is free"}


def test_the_port_of_administration_is_looked_at_too(ask):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = ask(port=0, admin_port=port)
        assert found["port"]["ok"] is True
        assert (found["admin port"]["ok"], found["admin port"]["text"].split("; ")[1]) == (
            False,
            "stop it, or set another serving.admin_port",
        )


@pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="this machine has no IPv6")
def test_a_port_of_an_ipv6_address_is_looked_at(ask):
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::1", 0))
        port = taken.getsockname()[1]
        found = ask(host="::1", port=port)["port"]
        assert found["ok"] is False
        assert found["text"].startswith(f"port {port} on ::1 is taken by another program; ")
    assert ask(host="::1", port=0)["port"]["ok"] is True


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a..b", "x" * 70, "2001:db8::zz"])
def test_a_host_that_cannot_be_resolved_is_a_finding(ask, host):
    found = ask(host=host)["port"]
    assert found["ok"] is False
    assert found["text"].startswith(f"serving.host {host!r} cannot be resolved (")
    assert found["text"].endswith("; give an address of this machine")


def test_a_host_that_is_another_machine_is_a_finding(ask):
    found = ask(host="192.0.2.1", port=0)["port"]
    assert found["ok"] is False
    assert found["text"].startswith("cannot listen on 192.0.2.1 port 0 (")


def test_a_token_file_that_no_header_can_carry_is_a_finding(ask, tmp_path):
    (tmp_path / "token").write_text("hunter2\nadmin")
    found = ask(port=0, token_file="token")["configuration"]
    assert found["ok"] is False
    assert "character 8" in found["text"]
    assert "hunter2" not in found["text"]


def test_a_run_folder_whose_parents_do_not_exist_is_judged_by_the_nearest_that_does(ask, tmp_path):
    found = ask(tmp_path / "not" / "there" / "yet", port=0)["run folder"]
    assert found["ok"] is True, found
    assert not (tmp_path / "not").exists()


@pytest.mark.parametrize("below", [".", "under/it"])
def test_a_file_in_place_of_the_run_folder_or_a_parent_is_a_finding(ask, tmp_path, below):
    (tmp_path / "file").write_text("")
    found = ask(tmp_path / "file" / below, port=0)["run folder"]
    assert found == {
        "name": "run folder",
        "ok": False,
        "text": f"{tmp_path / 'file'} is no folder; give another --run-dir",
    }


def test_a_link_to_nowhere_in_place_of_the_run_folder_is_a_finding(ask, tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    assert ask(tmp_path / "link", port=0)["run folder"]["ok"] is False


def test_the_metrics_port_of_another_program_is_a_finding_with_what_to_do(ask, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        taken.close()
        monkeypatch.setenv("INCUMBENT_RUN__METRICS_PORT", str(port))
        assert ask(port=0)["metrics port"]["text"] == f"{port} on 127.0.0.1 is free"
    with HTTPServer(("127.0.0.1", 0), Silent) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        monkeypatch.setenv("INCUMBENT_RUN__METRICS_PORT", str(other.server_port))
        found = ask(port=0)["metrics port"]
        other.shutdown()
    assert found["ok"] is False
    assert found["text"].endswith("stop it, or set another run.metrics_port (null: none)")
    monkeypatch.setenv("INCUMBENT_RUN__METRICS_PORT", "null")
    assert "metrics port" not in ask(port=0)


def test_a_run_that_tells_its_figures_there_is_no_fault(ask, monkeypatch):
    figures = RunMetrics(lambda: Figures(State(), (), 1, 1.0, 1.0))
    endpoint = Endpoint(listen("127.0.0.1", 0), figures.text)
    monkeypatch.setenv("INCUMBENT_RUN__METRICS_PORT", str(endpoint.port))
    found = ask(port=0)["metrics port"]
    endpoint.close()
    assert (found["ok"], "an incumbent run answers there" in found["text"]) == (True, True)


def test_a_store_that_is_not_there_yet_is_no_fault_and_is_not_made(ask, tmp_path, monkeypatch):
    assert ask(port=0)["experiences"]["ok"] is True
    monkeypatch.setenv("INCUMBENT_EXPERIENCE__URL", f"sqlite:///{tmp_path}/other.db")
    assert "nothing was played yet" in ask(port=0)["experiences"]["text"]
    assert not list(tmp_path.glob("*.db"))


def test_a_store_that_answers_is_said_to_answer(ask, tmp_path):
    SqliteStore(tmp_path / "experiences.db").close()
    assert ask(port=0)["experiences"]["text"].startswith("the store answers")


@pytest.mark.parametrize("url", ["postgresql://nobody:hunter2@127.0.0.1:9/none", "mysql://nobody:hunter2@here/none"])
def test_a_store_that_cannot_be_reached_is_a_finding_that_keeps_the_password(ask, monkeypatch, url):
    monkeypatch.setenv("INCUMBENT_EXPERIENCE__URL", url)
    found = ask(port=0)["experiences"]
    assert found["ok"] is False
    assert "hunter2" not in found["text"]
    assert ";" in found["text"]  # and what to do
