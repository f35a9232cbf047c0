"""`incumbent deploy`: per target, what it took to have the proven version in production."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.commands.deploy import awaiting
from supervisor.contract import Decision, Outcome, Reason
from supervisor.registry.active import ActiveFile
from supervisor.serving.options import ServerOptions
from tests.support.command_line import call
from tests.support.onnx_models import mlp
from tests.support.served_folder import ServedFolder, _promotion
from tests.support.server_process import ServerProcess

ONE, OTHER = "aggressive/combat_dqn", "mage/combat_dqn"


@pytest.fixture
def folder(tmp_path: Path) -> ServedFolder:
    folder = ServedFolder(tmp_path / "run")
    folder.promote(mlp(1), ONE)
    folder.promote(mlp(2), OTHER)
    return folder


def config(folder: ServedFolder, port: int) -> Path:
    path = folder.path.parent / "my.yaml"
    path.write_text(f"serving: {{port: {port}}}\n")
    return path


def deploy(folder: ServedFolder, port: int, *flags: str):
    return call("deploy", "--run-dir", str(folder.path), "--config", str(config(folder, port)), *flags)


def test_without_a_server_it_says_what_is_active_and_how_to_serve_it(folder):
    answer = deploy(folder, 9, "--all")
    assert answer.code == 0
    assert f"{ONE}: v000001 is active" in answer.out
    assert f"{OTHER}: v000002 is active" in answer.out
    assert "incumbent serve --run-dir" in answer.out


def test_a_server_is_told_what_it_missed_and_asked_nothing_else(folder):
    with ServerProcess(folder.path) as server:
        assert deploy(folder, server.port, "--all").out.count("is served already") == 2
        newer = folder.promote(mlp(3), ONE)
        answer = deploy(folder, server.port, "--archetypes", "aggressive,mage", "--model-types", "combat_dqn")
        assert answer.code == 0
        assert f"{ONE}: the server took up {newer.name}" in answer.out
        assert f"{OTHER}: v000002 is served already" in answer.out
        assert "served already" in deploy(folder, server.port, "--archetypes", "aggressive").out


def test_a_server_whose_administration_is_elsewhere_is_told_there(folder, monkeypatch):
    with ServerProcess(folder.path, ServerOptions(port=0, admin_port=0)) as server:
        folder.promote(mlp(3), ONE)
        alone = deploy(folder, server.port, "--all")
        assert alone.code == 1
        assert "administration has a listener of its own (serving.admin_port)" in alone.err
        monkeypatch.setenv("INCUMBENT_SERVING__ADMIN_PORT", str(server.admin_port))
        assert "the server took up v000003" in deploy(folder, server.port, "--all").out


def test_a_refused_model_is_exit_code_1_and_says_why(folder):
    with ServerProcess(folder.path) as server:
        broken = folder.promote(b"no model at all", ONE)
        answer = deploy(folder, server.port, "--all")
        assert answer.code == 1
        assert f"{ONE}: the server refuses {broken.name}: " in answer.err


def test_a_server_of_another_folder_is_left_alone(folder, tmp_path):
    other = ServedFolder(tmp_path / "other")
    other.promote(mlp(4), ONE)
    with ServerProcess(other.path) as server:
        assert "answers for another run folder" in deploy(folder, server.port, "--all").out


def waits(folder: ServedFolder) -> str:
    """A line whose winner waits for the operator."""
    made = folder.commit(mlp(5), OTHER)
    folder.iteration += 1
    line = _promotion(folder.iteration, OTHER, made.model_sha256, made.interface)
    decision = Decision("paired_e", Outcome.INCONCLUSIVE, Reason.AWAITING_OPERATOR)
    folder._log.commit(
        replace(line, promoted=False, improvement=0.0, reason=Reason.AWAITING_OPERATOR, decision=decision)
    )
    return f"v{folder.iteration:06d}"


def test_a_winner_that_waits_for_the_operator_is_promoted(folder):
    name = waits(folder)
    active = ActiveFile.read(folder.path)
    chosen = {key: entry.as_version() for key, entry in active.targets.items()}
    assert {key: line.version for key, line in awaiting(folder.path, chosen).items()} == {OTHER: name}
    answer = deploy(folder, 9, "--all")
    assert f"{OTHER}: {name} is proven and waits; it is promoted" in answer.out
    assert f"{OTHER}: {name} is active" in answer.out, answer
    assert "and waits" not in deploy(folder, 9, "--all").out


def test_what_does_not_exist_is_refused(folder, tmp_path):
    assert "--all" in deploy(folder, 9).err
    assert "'bard': no such name" in deploy(folder, 9, "--archetypes", "bard").err
    answer = call("deploy", "--run-dir", str(tmp_path / "none"), "--all")
    assert (answer.code, "holds no run" in answer.err) == (2, True)
