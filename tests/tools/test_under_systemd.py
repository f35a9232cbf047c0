"""The shipped units under a real systemd, sandbox and all: real training, a real server, hangs, wrong settings."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support import own_systemd
from tests.support.own_systemd import UID, OwnSystemd
from tests.support.processes import ROOT, wait_for

LACKS = own_systemd.missing()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(LACKS is not None, reason=f"no systemd of our own: {LACKS}")]

SEARCH, SERVER = "incumbent.service", "incumbent-server.service"
FAST = """\
[Service]
Environment=INCUMBENT_RUN__TARGETS=aggressive/combat_dqn INCUMBENT_BUDGETS__STEPS=4000 OMP_NUM_THREADS=1
WatchdogSec=15
TimeoutAbortSec=5
RestartSec=1
StandardOutput=append:/var/lib/{unit}.out
StandardError=append:/var/lib/{unit}.out
"""
BOT = """\
import json, random, sys
games, seed = int(sys.argv[1]), int(sys.argv[2])
courage = float(open("weights.yaml").read().split()[1])
print(json.dumps({"games": [int(random.Random(seed + i).random() < 0.3 + 0.5 * courage) for i in range(games)]}))
"""
BOT_SPACE = """\
target: mine/bot
kind: command
config_file: ../weights.yaml
evaluate: ["{python}", play.py, "{games}", "{seed}"]
parameters: {courage: {type: float, low: 0.0, high: 1.0}}
"""


def installed(unit: str) -> str:
    """The unit as README.md installs it, but for a user of its own."""
    text = (ROOT / "tools" / unit).read_text()
    text = text.replace("/opt/incumbent", str(ROOT))
    return re.sub(r"^Bind.*$", rf"\g<0> {sys.base_prefix}", text, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnSystemd]:
    units = {unit: installed(unit) for unit in (SEARCH, SERVER)}
    units |= {f"{unit}.d/fast.conf": FAST.format(unit=unit) for unit in units}
    with OwnSystemd(tmp_path_factory.mktemp("systemd"), units) as systemd:
        yield systemd


@pytest.fixture
def both(machine: OwnSystemd) -> OwnSystemd:
    """Both units at work, some iterations done."""
    machine.systemctl("start", SEARCH, SERVER)
    wait_for("iterations", lambda: iteration(machine) >= 2)
    wait_for("a model is served", lambda: machine.show(SERVER, "StatusText").startswith("serving 1 model "))
    return machine


def iteration(machine: OwnSystemd) -> int:
    found = re.match(r"iteration (\d+), best win rate ", machine.show(SEARCH, "StatusText"))
    return int(found[1]) if found else 0


def models(machine: OwnSystemd) -> list[dict[str, object]]:
    return json.loads(machine.call("curl", "-s", "http://127.0.0.1:8080/models"))["models"]


def test_both_units_train_and_serve_in_their_sandbox_and_the_scripts_server_leaves_the_port(both: OwnSystemd) -> None:
    assert (both.show(SEARCH, "ActiveState"), both.show(SERVER, "ActiveState")) == ("active", "active")
    assert "is running already and is used" in both.said(SEARCH)
    assert both.pids(SEARCH, "incumbent serve") == []
    assert models(both)[0]["archetype"] == "aggressive"
    [supervisor] = both.pids(SEARCH, "incumbent run")
    for pid in (supervisor, str(both.main_pid(SERVER))):
        lines = dict(line.split(":\t", 1) for line in both.call("cat", f"/proc/{pid}/status").splitlines())
        assert lines["Uid"].split() == [str(UID)] * 4
        assert (lines["NoNewPrivs"], lines["Seccomp"], int(lines["CapBnd"], 16)) == ("1", "2", 0)
        inside = ("nsenter", "-t", pid, "--mount")
        for folder in (ROOT, "/etc", "/var/lib"):
            refused = both.call(*inside, "sh", "-c", f"touch {folder}/x 2>&1", check=False)
            assert "Read-only file system" in refused
        assert both.call(*inside, "sh", "-c", "ls -A /home; ls /dev/mem /dev/kmsg 2>/dev/null", check=False) == ""


def test_a_supervisor_that_hangs_is_ended_by_the_watchdog_and_goes_on_while_the_server_serves(both: OwnSystemd) -> None:
    serving, restarts, before = both.main_pid(SERVER), int(both.show(SEARCH, "NRestarts")), iteration(both)
    [supervisor] = both.pids(SEARCH, "incumbent run")
    both.call("kill", "-STOP", supervisor)
    wait_for("systemd starts it again", lambda: int(both.show(SEARCH, "NRestarts")) == restarts + 1)
    assert both.pids(SEARCH, "incumbent run") != [supervisor]
    wait_for("it goes on", lambda: iteration(both) > before)
    assert "Resumed from checkpoint: iteration " in both.said(SEARCH)
    assert both.main_pid(SERVER) == serving
    assert models(both)


def test_a_supervisor_that_dies_is_started_again_by_the_script_below_the_same_unit(both: OwnSystemd) -> None:
    both.systemctl("stop", SEARCH)
    both.write_unit(f"{SEARCH}.d/delay.conf", "[Service]\nEnvironment=INCUMBENT_RESTART_DELAY_S=20\n")
    both.systemctl("daemon-reload")
    both.systemctl("start", SEARCH)
    script, before = both.main_pid(SEARCH), iteration(both)
    [supervisor] = both.pids(SEARCH, "incumbent run")
    both.call("kill", "-KILL", supervisor)
    wait_for("the script says so", lambda: "started again in " in both.show(SEARCH, "StatusText"))
    wait_for("it goes on", lambda: iteration(both) > before)  # later than the watchdog would have allowed
    assert (both.main_pid(SEARCH), both.show(SEARCH, "NRestarts")) == (script, "0")


def test_a_server_that_hangs_is_started_again(both: OwnSystemd) -> None:
    serving, restarts = both.main_pid(SERVER), int(both.show(SERVER, "NRestarts"))
    both.call("kill", "-STOP", str(serving))
    wait_for("systemd starts it again", lambda: int(both.show(SERVER, "NRestarts")) == restarts + 1)
    wait_for("another process", lambda: both.main_pid(SERVER) not in (0, serving))  # or the status is the old one's
    wait_for("it serves", lambda: both.show(SERVER, "StatusText").startswith("serving 1 model "))
    assert models(both)


def test_a_stop_saves_within_its_time_and_is_no_failure(both: OwnSystemd) -> None:
    began_s = time.monotonic()
    both.systemctl("stop", SEARCH)
    assert time.monotonic() - began_s < 25
    assert (both.show(SEARCH, "ActiveState"), both.show(SEARCH, "Result")) == ("inactive", "success")
    assert "Saved at iteration " in both.said(SEARCH).splitlines()[-1]
    assert models(both)


def test_the_search_alone_serves_too_and_the_gpus_drop_in_does_no_harm_without_one(machine: OwnSystemd) -> None:
    machine.systemctl("stop", SEARCH, SERVER)
    text = (machine.base / "units" / SERVER).read_text()
    (machine.base / "units" / SERVER).unlink()
    machine.write_unit(f"{SEARCH}.d/gpu.conf", (ROOT / "tools" / "drop-ins" / "gpu.conf").read_text())
    machine.systemctl("daemon-reload")
    machine.systemctl("start", SEARCH)
    wait_for("a server beside the run", lambda: len(machine.pids(SEARCH, "incumbent serve")) == 1)
    answer = ("curl", "-s", "http://127.0.0.1:8080/models")
    wait_for("it serves", lambda: '"version"' in machine.call(*answer, check=False))
    machine.systemctl("stop", SEARCH)
    assert machine.show(SEARCH, "Result") == "success"
    machine.write_unit(SERVER, text)
    machine.systemctl("daemon-reload")


def test_wrong_settings_are_not_tried_again(machine: OwnSystemd) -> None:
    machine.systemctl("stop", SEARCH, SERVER)
    machine.write_unit(f"{SEARCH}.d/wrong.conf", "[Service]\nEnvironment=INCUMBENT_RUN__SEED=x\n")
    machine.systemctl("daemon-reload")
    machine.systemctl("start", SEARCH, check=False)
    wait_for("it is given up", lambda: machine.show(SEARCH, "ActiveState") == "failed")
    assert (machine.show(SEARCH, "ExecMainStatus"), machine.show(SEARCH, "Result")) == ("3", "exit-code")
    assert "the supervisor left with code 3, invalid configuration" in machine.said(SEARCH)
    (machine.base / "units" / f"{SEARCH}.d" / "wrong.conf").unlink()
    machine.systemctl("daemon-reload")


def test_with_its_drop_in_a_program_of_ones_own_is_searched_and_its_file_written(machine: OwnSystemd) -> None:
    machine.systemctl("stop", SEARCH, SERVER)
    bot = machine.base / "srv" / "bot"
    (bot / "spaces").mkdir(parents=True)
    (bot / "play.py").write_text(BOT)
    (bot / "weights.yaml").write_text("courage: 0.2   # the comment stays\n")
    (bot / "spaces" / "bot.yaml").write_text(BOT_SPACE)
    (bot / "incumbent.yaml").write_text("run: {search_spaces: spaces, targets: [mine/bot], start_from: scratch}\n")
    subprocess.run(["chown", "-R", f"{UID}:{UID}", str(bot)], check=True)
    machine.write_unit(
        f"{SEARCH}.d/external-target.conf", (ROOT / "tools" / "drop-ins" / "external-target.conf").read_text()
    )
    fast = FAST.format(unit=SEARCH).replace("INCUMBENT_RUN__TARGETS=aggressive/combat_dqn", "")
    machine.write_unit(f"{SEARCH}.d/fast.conf", fast + "Environment=INCUMBENT_SEARCH__SAMPLER=perturb\n")
    machine.systemctl("daemon-reload")
    machine.systemctl("start", SEARCH)
    wait_for("a proven winner", lambda: " PROMOTED " in machine.said(SEARCH), timeout_s=400)
    machine.systemctl("stop", SEARCH)
    won = re.match(r"courage: (0\.\d+|1\.0) +# the comment stays\n$", (bot / "weights.yaml").read_text())
    assert won
    assert float(won[1]) > 0.2
