"""The units as systemd reads them: nothing to complain about, and how far they could reach if they were taken over."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import ROOT

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")

UNITS = ("incumbent.service", "incumbent-server.service")
DROP_INS = ("gpu.conf", "external-target.conf")
MOST = 2.0
TABLE_ROW = re.compile(r"^\| `([\w.-]+)`(?: with `drop-ins/([\w.-]+)`)? \| ([\d.]+) \|", re.MULTILINE)


def analyze(*arguments: str) -> str:
    """What systemd-analyze prints; it must leave with 0 and complain about nothing."""
    done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def exposure(folder: Path, unit: str) -> float:
    """0 is safe, 10 is what any unit has that says nothing. Drop-ins beside the unit count."""
    said = analyze("security", "--offline=true", "--no-pager", str(folder / unit))
    found = re.search(r"Overall exposure level for .*: ([\d.]+)", said)
    assert found, said
    return float(found[1])


def merged(folder: Path, unit: str, drop_in: str | None) -> Path:
    """The unit alone in a folder, with one drop-in or none."""
    shutil.copy(ROOT / "tools" / unit, folder)
    if drop_in:
        (folder / f"{unit}.d").mkdir()
        shutil.copy(ROOT / "tools" / "drop-ins" / drop_in, folder / f"{unit}.d")
    return folder


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_nothing_wrong_with_a_unit(unit: str) -> None:
    analyze("verify", "--man=no", str(ROOT / "tools" / unit))


@pytest.mark.parametrize("drop_in", DROP_INS)
def test_systemd_finds_nothing_wrong_with_a_drop_in(tmp_path: Path, drop_in: str) -> None:
    analyze("verify", "--man=no", str(merged(tmp_path, UNITS[0], drop_in) / UNITS[0]))


def test_a_mistake_in_a_unit_would_be_found(tmp_path: Path) -> None:
    text = (ROOT / "tools" / UNITS[0]).read_text()
    (tmp_path / UNITS[0]).write_text(text.replace("ProtectClock=yes", "ProtectClocks=yes"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / UNITS[0])], capture_output=True, text=True, check=False
    )
    assert "ProtectClocks" in done.stderr


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("drop_in", [None, *DROP_INS])
def test_what_a_unit_lays_open_is_bounded_and_as_the_table_says(tmp_path: Path, unit: str, drop_in: str | None) -> None:
    rows = {(name, with_drop_in or None): float(rate) for name, with_drop_in, rate in TABLE_ROW.findall(readme())}
    if unit == UNITS[1] and drop_in == DROP_INS[1]:
        assert (unit, drop_in) not in rows  # the server plays no games
        return
    rate = exposure(merged(tmp_path, unit, drop_in), unit)
    assert rate <= MOST
    if f"systemd {version()} " in readme():
        assert rate == rows[unit, drop_in]


def readme() -> str:
    return (ROOT / "tools" / "README.md").read_text()


def version() -> str:
    return analyze("--version").split()[1]
