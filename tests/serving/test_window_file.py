"""What is written down of a watch, and what a server makes of it that finds it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from supervisor.contract import Version
from supervisor.journal.durable import FsyncFailedError
from supervisor.serving import window_file
from supervisor.serving.clients import Clients
from supervisor.serving.options import WatchOptions
from supervisor.serving.served import Slot
from supervisor.serving.watch import Watch, Watching
from supervisor.serving.window import Verdict, Window
from supervisor.serving.window_file import Added, Kept, Opened

TARGET = "aggressive/combat_dqn"


def version(number: int) -> Version:
    return Version(f"v{number:06d}", number, {}, f"{number:064d}")


def opened(is_canary: bool = False) -> Opened:
    return Opened.of(TARGET, version(2), version(1), "2026-01-01T00:00:00Z", is_canary, None)


def test_a_line_that_was_written_twice_counts_once(tmp_path: Path) -> None:
    window_file.begin(tmp_path, opened())
    first = Added(1.0, ((1.0, 0.0), (0.5, 0.5)), ("NaN",))
    for added in (first, first, Added(2.0, ((0.0, 1.0),), ("late",), pairs_before=2, faults_before=1)):
        window_file.add(tmp_path, TARGET, added)
    kept = window_file.read(tmp_path, TARGET)
    assert kept is not None
    assert (kept.pairs, kept.faults) == (((1.0, 0.0), (0.5, 0.5), (0.0, 1.0)), ("NaN", "late"))


def test_what_the_disk_refused_to_make_durable_is_never_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    watch = Watch(tmp_path, WatchOptions(), lines.append, lambda: "now")
    slot = Slot(TARGET)
    slot.watching = Watching(opened(), Window(WatchOptions()), Clients(0.0, 1), 0.0, is_begun=False, pairs=[(1.0, 0.0)])

    def refuse(*_: object) -> None:
        raise FsyncFailedError("the disk")

    with monkeypatch.context() as patch:
        patch.setattr(window_file, "add", refuse)
        asyncio.run(watch.write(slot))
    asyncio.run(watch.write(slot))
    assert window_file.path_of(tmp_path, TARGET).read_bytes().count(b"\n") == 1
    assert len(lines) == 1
    assert "a restart forgets it" in lines[0]


@pytest.mark.parametrize(
    ("verdict", "was_canary", "live", "against", "goes_on"),
    [
        (Verdict.WATCHING, False, 2, 1, True),
        (Verdict.WATCHING, True, 2, 1, False),  # begun as a canary, and it is none any more
        (Verdict.SUPERSEDED, False, 2, 1, False),
        (Verdict.STABLE, False, 2, None, False),
        (Verdict.UNDECIDED, False, 2, None, False),
        (Verdict.WATCHING, False, 3, 2, False),
        (Verdict.WATCHING, True, 3, 1, False),  # most were served the one before
        (Verdict.STABLE, True, 3, 2, False),
        (Verdict.DEGRADED, False, 3, 1, False),
        (Verdict.ROLLED_BACK, True, 3, 1, False),
    ],
)
def test_what_a_version_is_compared_with_that_is_served_anew(
    tmp_path: Path, verdict: Verdict, was_canary: bool, live: int, against: int | None, goes_on: bool
) -> None:
    watch = Watch(tmp_path, WatchOptions(), lambda _: None, lambda: "now")
    found = watch.comparison(Kept(opened(was_canary), (), (), 1.0, verdict, None), version(live))
    other = None if against is None else version(against)
    assert found == (None if other is None else ((other.name, other.model_sha256), goes_on))
