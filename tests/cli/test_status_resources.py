"""`incumbent status --json` has the founding document's dictionary under `resources`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from supervisor.commands.statusresources import Standing, for_people
from supervisor.config.settings import ResourceSettings
from supervisor.contract import Waiting
from supervisor.execution import resource_note
from supervisor.execution.load import Gauge, Sample, Share
from supervisor.execution.resource_note import NAME, Notes, read_note
from supervisor.execution.resources import Monitor
from tests.support.command_line import NoopFolder
from tests.support.processes import console, start, wait_for

FOUNDING = {
    "can_train": bool,
    "cpu_percent": float,
    "cpu_max": float,
    "ram_used_gb": float,
    "ram_max_gb": float,
    "vram_percent": float,
    "vram_max_percent": float,
    "gpu_available": bool,
}
TIGHT = {"INCUMBENT_RESOURCES__MAX_CPU_PERCENT": "99.5", "INCUMBENT_RESOURCES__MAX_RAM_GB": "0.001"}


@pytest.fixture
def folder(finished_run: NoopFolder, tmp_path: Path) -> NoopFolder:
    copy = finished_run.copy(tmp_path)
    copy.run_dir.with_name("run.console").touch()
    return copy


def told(folder: NoopFolder) -> dict[str, object]:
    found = folder.call("status", "--json").json()["resources"]
    assert isinstance(found, dict)
    return found


def test_where_no_run_is_alive_it_is_measured_now(folder: NoopFolder) -> None:
    found = told(folder)
    for name, kind in FOUNDING.items():
        assert found[name] is None or isinstance(found[name], kind), name
    assert (found["can_train"], found["reason"], found["held"], found["age_s"]) == (True, "", False, 0.0)
    assert (found["cpu_max"], found["ram_max_gb"], found["vram_max_percent"]) == (None, None, 70.0)
    assert found["ram_used_gb"] > 0
    assert found["waits_for"] is None
    assert "\nother programs: CPU " in folder.call("status").out


def test_what_a_run_decided_by_is_told_with_why_not_and_its_limits_outlive_it(folder: NoopFolder) -> None:
    process = start(folder.run_dir, *folder.flags, environ={**TIGHT, "INCUMBENT_RUN__METRICS_PORT": "null"})
    try:
        wait_for("it waits", lambda: "waiting for resources" in console(folder.run_dir))
        wait_for("it is told", lambda: told(folder)["waits_for"] == "resources")
        found = told(folder)
        assert (found["can_train"], found["cpu_max"], found["ram_max_gb"]) == (False, 99.5, 0.001)
        assert found["reason"].startswith("other programs use ")
        assert "GB of memory (limit 0.001 GB)" in found["reason"]
        assert found["age_s"] < 60
        assert "none may begin" in (text := folder.call("status").out) or "held for" in text
    finally:
        process.terminate()
        process.wait(timeout=60)
    left = told(folder)
    assert (left["age_s"], left["ram_max_gb"], left["waits_for"]) == (0.0, 0.001, None)


@pytest.fixture
def monitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Monitor:
    sample = Sample(25.04, 6.5, 0.65, 2048, Share(12.0, 0.5, 0.1))
    monkeypatch.setattr(Gauge, "sample", lambda self: sample)
    return Monitor(tmp_path, ResourceSettings(max_cpu_percent=30, max_ram_gb=8), ())


def test_the_note_is_renewed_every_few_seconds_and_at_once_when_the_answer_changes(
    tmp_path: Path, monitor: Monitor
) -> None:
    now_s = 100.0
    notes = Notes(tmp_path, monitor, lambda: now_s, lambda: now_s)

    def noted_at() -> float:
        note = read_note(tmp_path)
        assert note is not None
        return note.noted_s

    notes.turn(None)
    now_s = 104.0
    notes.turn(None)
    assert noted_at() == 100.0
    now_s = 105.0
    notes.turn(None)
    assert noted_at() == 105.0
    now_s = 106.0
    notes.turn(Waiting.PAUSED)
    assert noted_at() == 106.0
    now_s = 136.0
    notes.turn(Waiting.PAUSED)
    found = read_note(tmp_path)
    assert found is not None
    assert (found.resources.waits_for, found.resources.waits_s) == ("paused", 30.0)
    assert found.resources.cpu_percent == 25.0
    assert (found.resources.vram_percent, found.resources.serving_vram_percent) == (65.0, 10.0)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"noted_s": 1}', b"\xff"])
def test_a_damaged_note_is_none(folder: NoopFolder, damage: bytes) -> None:
    (folder.run_dir / NAME).write_bytes(damage)
    assert read_note(folder.run_dir) is None
    assert told(folder)["age_s"] == 0.0


def test_a_folder_without_room_for_the_note_keeps_nobody(tmp_path: Path, monitor: Monitor) -> None:
    Notes(tmp_path / "gone", monitor).turn(None)


def test_limits_that_this_program_does_not_know_are_the_default(folder: NoopFolder, monitor: Monitor) -> None:
    Notes(folder.run_dir, monitor).turn(None)
    body = json.loads((folder.run_dir / NAME).read_text())
    assert told(folder)["cpu_max"] == 30
    (folder.run_dir / NAME).write_text(json.dumps({**body, "limits": {"of_tomorrow": 1}}))
    assert told(folder)["cpu_max"] is None


def test_people_read_what_is_used_of_how_much_and_why_nothing_begins(monitor: Monitor) -> None:
    limits = monitor.limits
    calm = resource_note.resources_of(monitor.look(), limits, True)
    assert for_people(Standing(calm, 0.0)) == (
        "other programs: CPU 25 % of 30 %, memory 6.5 GB of 8 GB, GPU memory 65 % of 70 %; trials on cpu"
    )
    tight = limits.model_copy(update={"max_cpu_percent": 20.0})
    short = Monitor(Path(), tight, ()).look()
    held = resource_note.resources_of(short, tight, False, Waiting.RESOURCES, 40.0)
    assert for_people(Standing(held, 2.0)).endswith(
        " (2 s ago); trials on cpu, none may begin for 42 s: other programs use 25 % CPU (limit 20 %)"
    )
