"""`serving/rollbacks.jsonl`: durable before the server acts, readable whatever became of it, consumed once."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.contract import Version
from supervisor.deciding import decide_rolled_back
from supervisor.journal import durable
from supervisor.journal.durable import DiskFullError
from supervisor.record import Record
from supervisor.registry import server_rollbacks
from supervisor.registry.server_rollbacks import Cause, RollbackFile, ServerRollback, in_production, judge
from supervisor.state import State, TargetState, fold
from tests.support.records import make_promotion, make_record

TARGET = "aggressive/combat_dqn"


def name(number: int) -> str:
    return f"v{number:06d}"


def rollback(number: int, back_to: int | None, rollback_id: str = "") -> ServerRollback:
    return ServerRollback(
        id=rollback_id or f"{number} to {back_to}",
        target=TARGET,
        version=name(number),
        model_sha256=f"{number:064x}",
        back_to=None if back_to is None else name(back_to),
        cause=Cause.DEGRADED,
        detail="worse",
        at="2000-01-01T00:00:00Z",
    )


FIRST, SECOND = rollback(5, 4), rollback(4, None)


def path_of(run_dir: Path) -> Path:
    return run_dir / "serving" / "rollbacks.jsonl"


# what stands in the file


def test_one_writer_goes_on_whatever_becomes_of_the_file_meanwhile(tmp_path: Path) -> None:
    file, path = RollbackFile(tmp_path), tmp_path / "serving" / "rollbacks.jsonl"
    file.append(FIRST)
    file.append(SECOND)
    assert server_rollbacks.read(tmp_path).entries == (FIRST, SECOND)
    shutil.rmtree(path.parent)
    file.append(SECOND)
    assert server_rollbacks.read(tmp_path).entries == (SECOND,)
    path.rename(tmp_path / "aside")
    path.mkdir()
    with pytest.raises(OSError, match=r"rollbacks\.jsonl"):
        file.append(FIRST)
    path.rmdir()
    path.write_bytes((tmp_path / "aside").read_bytes() + b'{"torn')
    file.append(FIRST)
    assert server_rollbacks.read(tmp_path).entries == (SECOND, FIRST)


def test_what_is_appended_is_read_in_its_order(tmp_path: Path) -> None:
    for entry in (FIRST, SECOND):
        RollbackFile(tmp_path).append(entry)
    assert server_rollbacks.read(tmp_path).entries == (FIRST, SECOND)


def test_a_run_without_a_server_has_none(tmp_path: Path) -> None:
    assert server_rollbacks.read(tmp_path) == server_rollbacks.Rollbacks()
    (tmp_path / "serving").touch()
    assert server_rollbacks.read(tmp_path) == server_rollbacks.Rollbacks()


def test_file_and_folders_are_synced_before_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    monkeypatch.setattr(durable, "failpoint", lambda step, path: steps.append(f"{step} {path.relative_to(tmp_path)}"))
    for entry in (FIRST, SECOND):
        RollbackFile(tmp_path).append(entry)
        file = "serving/rollbacks.jsonl"
        assert steps.index(f"write {file}") < steps.index(f"fsync_append {file}") < len(steps) - 1
        assert steps[-1] == "fsync_folder serving"
        steps.clear()


def test_a_server_killed_anywhere_in_append_leaves_the_whole_entry_or_none(tmp_path: Path) -> None:
    """And the next one appends as if nothing had been."""
    died = number = 0
    while number == died:
        run_dir = tmp_path / str(number)
        run_dir.mkdir()
        died += killed_in_append(run_dir, FIRST, before=number)
        assert server_rollbacks.read(run_dir).entries in ((), (FIRST,))
        assert not server_rollbacks.read(run_dir).problems
        RollbackFile(run_dir).append(SECOND)
        assert server_rollbacks.read(run_dir).entries in ((SECOND,), (FIRST, SECOND))
        number += 1
    assert died >= 5


def killed_in_append(run_dir: Path, entry: ServerRollback, before: int) -> bool:
    pid = os.fork()
    if pid == 0:
        left = before

        def count_down(operation: str, path: Path) -> None:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

        durable.failpoint = count_down
        RollbackFile(run_dir).append(entry)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def test_without_room_nothing_is_written_and_the_server_hears_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RollbackFile(tmp_path).append(FIRST)

    def full(step: str, path: Path) -> None:
        if step == "write":
            raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(durable, "failpoint", full)
    with pytest.raises(DiskFullError, match=r"rollbacks\.jsonl"):
        RollbackFile(tmp_path).append(SECOND)
    assert server_rollbacks.read(tmp_path).entries == (FIRST,)


def test_a_torn_last_line_does_not_count_and_goes_at_the_next_append(tmp_path: Path) -> None:
    for entry in (FIRST, SECOND):
        RollbackFile(tmp_path).append(entry)
    whole = path_of(tmp_path).read_bytes()
    first = whole.index(b"\n") + 1
    for size in range(first, len(whole)):
        path_of(tmp_path).write_bytes(whole[:size])
        assert server_rollbacks.read(tmp_path) == server_rollbacks.Rollbacks((FIRST,))
        RollbackFile(tmp_path).append(SECOND)
        assert server_rollbacks.read(tmp_path) == server_rollbacks.Rollbacks((FIRST, SECOND))


@pytest.mark.parametrize(
    "line",
    [b"", b"{}", b"[1]", b"\x00\x00", b"\xff\xfe", b"[" * 100_000, b'{"id":"x"}', b'{"check":"0"}'],
    ids=["empty", "nothing", "list", "NUL", "no text", "deep", "half", "wrong check"],
)
def test_a_damaged_line_is_left_out_and_reported(tmp_path: Path, line: bytes) -> None:
    RollbackFile(tmp_path).append(FIRST)
    with path_of(tmp_path).open("ab") as stream:
        stream.write(line + b"\n")
    RollbackFile(tmp_path).append(FIRST)  # which may cut what was torn, and nothing else
    RollbackFile(tmp_path).append(SECOND)
    found = server_rollbacks.read(tmp_path)
    assert found.entries == (FIRST, FIRST, SECOND)
    if line != b"\x00\x00":
        assert [problem.endswith("line 2 is damaged and counts for nothing") for problem in found.problems] == [True]


@settings(deadline=None)
@given(data=st.binary(max_size=300))
def test_whatever_bytes_lie_there_reading_raises_nothing(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    run_dir = tmp_path_factory.mktemp("run")
    RollbackFile(run_dir).append(FIRST)
    with path_of(run_dir).open("ab") as stream:
        stream.write(data)
    assert server_rollbacks.read(run_dir).entries[0] == FIRST


def test_a_flipped_byte_never_gives_another_rollback(tmp_path: Path) -> None:
    RollbackFile(tmp_path).append(FIRST)
    whole = path_of(tmp_path).read_bytes()
    for at in range(len(whole)):
        path_of(tmp_path).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert server_rollbacks.read(tmp_path).entries == ()


def test_a_folder_or_a_pipe_in_its_place_is_reported_and_not_waited_for(tmp_path: Path) -> None:
    path_of(tmp_path).mkdir(parents=True)
    assert "no file" in server_rollbacks.read(tmp_path).problems[0]
    path_of(tmp_path).rmdir()
    os.mkfifo(path_of(tmp_path))
    assert "no file" in server_rollbacks.read(tmp_path).problems[0]


# what is in force


def target_of(incumbents: list[int], rolled_back: tuple[int, ...] = ()) -> TargetState:
    made = {
        name(number): Version(name(number), number, {}, f"{number:064x}", f"{number:064x}") for number in incumbents
    }
    return TargetState(
        iterations=max(incumbents),
        incumbent=made[name(incumbents[-1])],
        versions=made,
        history=tuple(name(number) for number in incumbents[:-1]),
        rolled_back=tuple(name(number) for number in rolled_back),
    )


def test_an_entry_waits_until_its_version_is_known_as_rolled_back() -> None:
    assert judge([FIRST], {TARGET: target_of([4, 5])}).waiting == (FIRST,)
    assert judge([FIRST], {TARGET: target_of([5, 4], rolled_back=(5,))}).waiting == ()


def test_a_version_of_that_name_with_other_bytes_is_unknown() -> None:
    other = replace(FIRST, model_sha256="f" * 64)
    for entry in (other, replace(FIRST, version=name(9)), replace(FIRST, target="mage/other")):
        judged = judge([entry], {TARGET: target_of([4, 5])})
        assert (judged.waiting, judged.unknown) == ((), (entry,))


def test_a_version_rolled_back_twice_went_where_the_server_went_last() -> None:
    again = rollback(5, 3, "again")
    assert judge([FIRST, rollback(4, 3), again], {TARGET: target_of([3, 4, 5])}).waiting == (again, rollback(4, 3))


numbers = st.integers(1, 6)
entries = st.lists(st.builds(rollback, numbers, st.none() | numbers), max_size=8)


@settings(max_examples=300, deadline=None)
@given(active=st.none() | numbers, written=entries, never=st.sets(numbers))
def test_a_version_rolled_back_is_never_in_production(
    active: int | None, written: list[ServerRollback], never: set[int]
) -> None:
    target = target_of([1, 2, 3, 4, 5, 6], tuple(never))
    waiting = judge(written, {TARGET: target}).waiting
    found = in_production(None if active is None else name(active), waiting, target)
    assert found not in {*target.rolled_back, *(entry.version for entry in written)}
    if active is not None and name(active) not in {*target.rolled_back, *(entry.version for entry in waiting)}:
        assert found == name(active)


def line_of(state: State, entry: ServerRollback) -> Record:
    """What the supervisor commits for it."""
    verdict = decide_rolled_back(entry, state.target(TARGET), lambda version: True)
    return make_record(
        state.iteration + 1,
        purpose="manual",
        reason=verdict.decision.reason,
        decision=verdict.decision,
        version=verdict.version.name if verdict.version else None,
        model_sha256=verdict.version.model_sha256 if verdict.version else None,
        weights_sha256=verdict.version.weights_sha256 if verdict.version else None,
        interface=verdict.version.interface if verdict.version else None,
        rollbacks=verdict.rollbacks,
    )


@settings(max_examples=300, deadline=None)
@given(events=st.lists(st.sampled_from(["promote", "roll back", "consume", "read again"]), max_size=30))
def test_the_supervisor_comes_to_what_the_server_serves_whenever_it_reads(events: list[str]) -> None:
    """The server goes on serving what it went back to, and whoever restarts meanwhile comes to the same."""
    state, written = fold(State(), make_promotion(1)), list[ServerRollback]()

    def served() -> str | None:
        target = state.target(TARGET)
        present = target.incumbent.name if target.incumbent else None
        return in_production(present, judge(written, state.targets).waiting, target)

    def consume() -> None:
        nonlocal state
        state = fold(state, line_of(state, judge(written, state.targets).waiting[0]))

    for event in events:
        target, before = state.target(TARGET), served()
        if event == "promote":
            state = fold(state, make_promotion(state.iteration + 1))
            assert served() == name(state.iteration)
        elif event == "roll back" and before is not None:
            gone = {entry.version for entry in written}
            back = next((old for old in target.ways_back if old not in {*gone, before}), None)
            number = int(before[1:])
            written.append(rollback(number, None if back is None else int(back[1:])))
            assert served() == back
        elif event == "consume" and judge(written, state.targets).waiting:
            consume()
            assert served() == before
        elif event == "read again" and written:
            written.append(written[0])
            assert served() == before
    before = served()
    while judge(written, state.targets).waiting:
        consume()
    present = state.target(TARGET).incumbent
    assert (present.name if present else None) == before
    assert set(state.target(TARGET).rolled_back) == {entry.version for entry in written}
