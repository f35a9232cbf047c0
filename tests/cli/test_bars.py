"""Bars: on a terminal they follow what lies in the folder, elsewhere they are not there."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

from supervisor.commands.bars import Done, bar, trained
from supervisor.journal.trial_folder import TrialFolder
from tests.support.processes import ROOT
from trainers.single import single_spec

PROGRAM = """
import time
from supervisor.commands.bars import Done, bar
with bar(lambda: Done(0.25, "mage/combat_dqn 50 %")):
    time.sleep(1.2)
    print("a line above")
    time.sleep(0.6)
print("the end")
"""


def test_the_share_is_that_of_all_the_steps_there_are_to_train(tmp_path: Path) -> None:
    steps = {"mage/combat_dqn": 100, "tank/combat_dqn": 300}
    assert trained(tmp_path, steps) == Done(0.0, "")
    for number, target in enumerate(steps, start=1):
        folder = TrialFolder(tmp_path / "trials" / f"{number:06d}")
        folder.path.mkdir(parents=True)
        folder.create(single_spec(target, 1, {}, steps[target], 0))
        (folder.path / "heartbeat").write_text("50\n")
    assert trained(tmp_path, steps) == Done(100 / 400, "mage/combat_dqn 50 %, tank/combat_dqn 16 %")
    (tmp_path / "trials" / "000001" / "committed").touch()
    assert trained(tmp_path, steps) == Done(150 / 400, "tank/combat_dqn 16 %")


def test_into_a_pipe_there_is_no_bar(capsys) -> None:
    with bar(lambda: 1 / 0):  # type: ignore[arg-type,return-value]
        print("a line")
    assert capsys.readouterr().out == "a line\n"


def test_on_a_terminal_lines_stand_above_the_bar_and_it_goes_at_the_end() -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=theirs, stderr=theirs, cwd=ROOT, env={**os.environ, "TERM": "xterm"}
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the terminal's other end is closed
            break
        if not part:
            break
        said += part
    os.close(ours)
    assert process.wait() == 0
    text = said.decode()
    assert "25 %" in text
    assert "mage/combat_dqn 50 %" in text
    assert text.index("a line above") < text.rindex("25 %") < text.index("the end")
