"""What README.md says against what there is: flags, files, settings, events, exit codes; its jq lines on a real run."""

import contextlib
import getpass
import json
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import typer.main

from supervisor import errors
from supervisor.cli import app
from supervisor.config.settings import Settings, walk
from supervisor.signals import EXIT_INTERRUPTED
from tests.support.processes import ROOT
from tests.support.readme import ENDLESS, README, commands
from tests.support.shell import shell, shell_json

TEXT = README.read_text()
INCUMBENT = [line for line in commands() if re.search(r"\bincumbent (?!$)", line) and "systemctl" not in line]
JQ = [line for line in commands() if "jq" in line and "curl" not in line and not ENDLESS.search(line)]


def jq_line(part):
    [line] = [line for line in JQ if part in line]
    return line


@pytest.fixture(scope="module")
def place(finished_run, tmp_path_factory):
    base = tmp_path_factory.mktemp("readme")
    (base / "checkpoints").symlink_to(finished_run.run_dir)
    return base


@pytest.mark.parametrize("line", [line for line in INCUMBENT if "journalctl" not in line and "sed " not in line])
def test_every_command_and_flag_exists(line):
    words = shlex.split(re.sub(r"^(\w+=\S+ )*", "", line), comments=True)
    assert words[0] == "incumbent"
    command, rest = typer.main.get_command(app), words[1:]
    while subcommands := getattr(command, "commands", None):
        command, *rest = subcommands[rest[0]], *rest[1:]
    with contextlib.closing(command.make_context(words[1], rest)):
        pass


def test_every_command_there_is_has_its_place_in_the_readme():
    named = {name for line in INCUMBENT for name in re.findall(r"incumbent ([\w-]+)", line)}
    assert set(typer.main.get_command(app).commands) <= named


def test_every_command_on_the_store_has_its_place_in_the_readme():
    named = {name for line in INCUMBENT for name in re.findall(r"incumbent store ([\w-]+)", line)}
    assert set(typer.main.get_command(app).commands["store"].commands) == named


@pytest.mark.parametrize("line", JQ)
def test_every_jq_line_answers(line, place):
    out = shell(line, cwd=place)
    assert out.strip() or 'status != "complete"' in line


def test_the_better_line_for_the_best_names_each_targets_incumbent(place, finished_run):
    found = shell_json(jq_line("last.best_win_rate"), cwd=place)
    for entry in found:
        lines = [line for line in finished_run.lines() if line.target == entry["target"]]
        assert entry["version"] == [line.version for line in lines if line.promoted][-1]
        assert entry["best"] == lines[-1].best_win_rate
    assert [entry["target"] for entry in found] == ["aggressive/noop", "mage/noop"]


def test_the_better_line_for_the_mean_leaves_failed_trials_out(finished_run, tmp_path):
    run = finished_run.copy(tmp_path)
    run.run_dir.rename(tmp_path / "checkpoints")
    log = tmp_path / "checkpoints" / "training_log.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    lines[-1] |= {"status": "failed", "win_rate": None, "reason": "crashed"}
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rates = [line["win_rate"] for line in lines[:-1]]
    assert shell_json(jq_line("add / length' "), cwd=tmp_path) == pytest.approx(sum(rates) / 12)  # misleads
    found = {
        entry["target"]: entry["mean"] for entry in shell_json(jq_line("{target: .[0].target, mean"), cwd=tmp_path)
    }
    mage = [line["win_rate"] for line in lines[:-1] if line["target"] == "mage/noop"]
    assert found["mage/noop"] == pytest.approx(sum(mage) / len(mage))
    assert shell(jq_line('status != "complete"'), cwd=tmp_path).split("\t")[:4] == [
        "12",
        "mage/noop",
        "failed",
        "crashed",
    ]


def test_every_exit_code_is_explained():
    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    used = codes - {1} | {EXIT_INTERRUPTED}
    for code in used:
        assert re.search(rf"^\|[^|]*\| {code} \|", TEXT, re.MULTILINE), code


def test_every_event_it_names_is_written_somewhere():
    source = "".join(path.read_text() for path in (ROOT / "supervisor").rglob("*.py"))
    named = re.findall(r"`-- (\w+)`", TEXT)
    assert named
    for event in named:
        assert f'"{event}"' in source, event


def test_every_file_it_names_is_there():
    for path in re.findall(r"`((?:tools|trainers|search_spaces)/[\w./]+)`", TEXT):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"\]\(([\w./]+)\)", TEXT):
        assert (ROOT / path).is_file(), path


def test_every_setting_it_names_exists():
    names = {name for name, _, _ in walk(Settings())}
    sections = tuple(f"{name}." for name in Settings.model_fields)
    mentioned = {name for name in re.findall(r"`([a-z_]+\.[a-z_]+)(?::[^`]*)?`", TEXT) if name.startswith(sections)}
    mentioned -= {"run.json"}
    assert mentioned
    assert mentioned <= names


@pytest.mark.parametrize("name", ["incumbent", "incumbent-server"])
def test_the_service_files_are_valid_as_the_readme_installs_them(tmp_path, name):
    [fill] = [line for line in commands() if line.startswith("fill=")]
    [line] = [line for line in commands() if line.startswith(f'sed "$fill" tools/{name}.service ')]
    sed, install = line.split(" | ")
    assert install == f"sudo tee /etc/systemd/system/{name}.service"
    unit = shell(f"{fill}\n{sed}", cwd=ROOT)
    path = tmp_path / f"{name}.service"
    path.write_text(unit)
    settings = dict(entry.split("=", 1) for entry in unit.splitlines() if "=" in entry and entry[0] != "#")
    env, program, *_ = settings["ExecStart"].split()
    assert env == "/usr/bin/env"
    assert (settings["WorkingDirectory"], (ROOT / program).is_file()) == (str(ROOT), True)
    assert settings["BindReadOnlyPaths"] == f"{ROOT} {sys.base_prefix}"
    assert settings["User"] == getpass.getuser()
    assert (settings["Type"], settings["Restart"], settings["KillMode"]) == ("notify", "always", "mixed")
    assert set(settings["RestartPreventExitStatus"].split()) == {"2", "3", "4", "6"}
    for command in commands():
        if "systemctl" in command or "journalctl" in command:
            assert "incumbent" in shlex.split(command, comments=True)
    if shutil.which("systemd-analyze"):
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_what_the_readme_says_of_the_search_unit_is_what_it_says():
    unit = (ROOT / "tools" / "incumbent.service").read_text()
    assert "started again after 30 seconds" in TEXT.replace("\n", " ")
    assert "RestartSec=30\n" in unit
    assert "no turn for three minutes" in TEXT.replace("\n", " ")
    assert "WatchdogSec=3min\n" in unit
    assert "StateDirectory=incumbent\n" in unit  # /var/lib/incumbent
