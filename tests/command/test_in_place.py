from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.external import in_place
from supervisor.external.in_place import restore_leftovers, take, user_bytes
from supervisor.journal import durable
from tests.support.kill_matrix import killed_at_each_step

ORIGINAL = b"# mine\r\naggression: 0.5   # keep \xe2\x80\x93 me\r\n"
OURS = b"aggression: 0.7\n"
OTHER = b"aggression: 0.9\n"
EDIT = b"aggression: 0.1 # I know better\n"


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: a kill, unlike a power cut, does not ask what the disk holds."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        path = Path(folder) / "config.yaml"
        path.write_bytes(ORIGINAL)
        yield path


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir())


def abandon(path: Path, *contents: bytes) -> None:
    """What a trial leaves that was killed after writing these."""
    if os.fork() == 0:
        claim = take(path)
        assert claim is not None
        for content in contents:
            claim.put(content)
        os._exit(0)
    os.wait()


def test_release_gives_the_file_back_byte_for_byte_and_leaves_nothing(config: Path) -> None:
    claim = take(config)
    assert claim is not None
    claim.put(OURS)
    assert config.read_bytes() == OURS
    assert claim.intact()
    claim.put(OTHER)
    claim.put(OURS)
    claim.release()
    assert config.read_bytes() == ORIGINAL
    assert claim.notes == []
    assert names(config) == ["config.yaml"]


def test_killed_at_any_step_the_file_is_given_back_byte_for_byte(config: Path) -> None:
    def work() -> None:
        claim = take(config)
        assert claim is not None
        for content in (OURS, OTHER, OURS):
            claim.put(content)
        claim.release()

    def prepare() -> None:
        assert names(config) == ["config.yaml"]
        config.write_bytes(ORIGINAL)

    steps = 0
    for _ in killed_at_each_step(work, prepare):
        steps += 1
        assert config.read_bytes() in (ORIGINAL, OURS, OTHER)
        assert user_bytes(config) == ORIGINAL
        assert restore_leftovers([config]) == []
        assert config.read_bytes() == ORIGINAL
        assert names(config) == ["config.yaml"]
    assert steps > 20


def test_giving_back_may_itself_be_killed_at_any_step(config: Path) -> None:
    def prepare() -> None:
        config.write_bytes(ORIGINAL)
        abandon(config, OURS, OTHER)
        assert config.read_bytes() == OTHER

    for _ in killed_at_each_step(lambda: restore_leftovers([config]) and None, prepare):
        restore_leftovers([config])
        assert config.read_bytes() == ORIGINAL
        assert names(config) == ["config.yaml"]


def test_a_users_edit_after_a_kill_is_kept_and_the_rest_is_beside_it(config: Path) -> None:
    abandon(config, OURS, OTHER)
    config.write_bytes(EDIT)
    (note,) = restore_leftovers([config])
    assert config.read_bytes() == EDIT
    assert (config.parent / "config.yaml.incumbent-original").read_bytes() == ORIGINAL
    assert (config.parent / "config.yaml.incumbent-trial").read_bytes() == OTHER
    assert "changed by somebody" in note
    assert str(config) in note
    assert len(names(config)) == 3
    assert restore_leftovers([config]) == []


def test_a_users_edit_at_any_step_is_never_lost(config: Path) -> None:
    """The kill may come anywhere, also while the edit is being taken over."""

    def work() -> None:
        claim = take(config)
        assert claim is not None
        claim.put(OURS)
        config.write_bytes(EDIT)
        claim.put(OTHER)
        claim.release()

    def prepare() -> None:
        for entry in config.parent.glob("*incumbent-*"):
            entry.unlink()
        config.write_bytes(ORIGINAL)

    seen = set()
    for _ in killed_at_each_step(work, prepare):
        restore_leftovers([config])
        seen.add(config.read_bytes())
        assert config.read_bytes() in (ORIGINAL, EDIT)
        kept = [entry.read_bytes() for entry in config.parent.glob("*incumbent-original*")]
        assert config.read_bytes() == ORIGINAL or ORIGINAL in kept
    assert seen == {ORIGINAL, EDIT}
    assert config.read_bytes() == EDIT


def test_a_users_edit_during_a_trial_is_what_the_trial_goes_on_from(config: Path) -> None:
    claim = take(config)
    assert claim is not None
    claim.put(OURS)
    config.write_bytes(EDIT)
    assert not claim.intact()
    assert claim.keep_foreign_edit()
    assert claim.original == EDIT
    claim.put(OTHER)
    claim.release()
    assert config.read_bytes() == EDIT
    assert len(claim.notes) == 1


def test_a_file_put_back_by_its_user_is_simply_written_again(config: Path) -> None:
    claim = take(config)
    assert claim is not None
    claim.put(OURS)
    config.write_bytes(ORIGINAL)
    assert not claim.intact()
    claim.put(OURS)
    assert claim.intact()
    claim.release()
    assert claim.notes == []


def test_a_file_removed_during_a_trial_is_not_lost(config: Path) -> None:
    abandon(config, OURS)
    config.unlink()
    (note,) = restore_leftovers([config])
    assert "config.yaml.incumbent-original" in note
    assert (config.parent / "config.yaml.incumbent-original").read_bytes() == ORIGINAL


def test_only_one_trial_at_a_time_has_the_file(config: Path) -> None:
    claim = take(config)
    assert claim is not None
    claim.put(OURS)
    assert take(config) is None
    assert restore_leftovers([config]) == []
    assert config.read_bytes() == OURS  # its owner lives
    with in_place.exclusive(config) as held:
        assert not held
    claim.release()
    again = take(config)
    assert again is not None
    again.release()


def test_a_new_owner_first_gives_back_what_a_killed_one_left(config: Path) -> None:
    abandon(config, OURS)
    claim = take(config)
    assert claim is not None
    assert claim.original == ORIGINAL
    claim.release()
    assert config.read_bytes() == ORIGINAL


def test_a_link_stays_a_link(config: Path) -> None:
    link = config.parent / "elsewhere" / "link.yaml"
    link.parent.mkdir()
    link.symlink_to(config)
    claim = take(link)
    assert claim is not None
    claim.put(OURS)
    assert config.read_bytes() == OURS
    claim.release()
    assert link.is_symlink()
    assert config.read_bytes() == ORIGINAL


@pytest.mark.parametrize("mode", [0o600, 0o666, 0o640])
def test_the_files_mode_is_the_same_afterwards_also_after_a_kill(config: Path, mode: int) -> None:
    config.chmod(mode)
    abandon(config, OURS)
    assert config.stat().st_mode & 0o777 == mode
    config.chmod(0o644)
    restore_leftovers([config])
    assert config.stat().st_mode & 0o777 == mode


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_a_file_edited_by_root_stays_its_owners(config: Path) -> None:
    os.chown(config, 1234, 4321)
    claim = take(config)
    assert claim is not None
    claim.put(OURS)
    assert (config.stat().st_uid, config.stat().st_gid) == (1234, 4321)
    claim.release()
    assert (config.stat().st_uid, config.stat().st_gid) == (1234, 4321)


def test_a_missing_file_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        take(tmp_path / "none.yaml")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_users_file_alone(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = take(config)
    assert claim is not None

    def full(operation: str, path: Path) -> None:
        if operation == "write":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "failpoint", full)
    with pytest.raises(durable.DiskFullError):
        claim.put(OURS)
    monkeypatch.setattr(durable, "failpoint", None)
    assert config.read_bytes() == ORIGINAL
    claim.release()
    assert names(config) == ["config.yaml"]


def test_the_users_bytes_are_readable_while_a_trial_has_the_file(config: Path) -> None:
    assert user_bytes(config) == ORIGINAL
    claim = take(config)
    assert claim is not None
    claim.put(OURS)
    assert user_bytes(config) == ORIGINAL
    config.write_bytes(EDIT)
    assert user_bytes(config) == EDIT
    claim.release()
    assert user_bytes(config) == EDIT


def test_the_end_of_a_claim_is_durable_before_anything_else_is_removed(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim that came back after a power cut would undo what was written into the file since."""
    claim = take(config)
    assert claim is not None
    claim.put(OURS)
    steps: list[tuple[str, str]] = []
    monkeypatch.setattr(durable, "failpoint", lambda operation, path: steps.append((operation, path.name)))
    claim.release()
    removed = steps.index(("remove", in_place.CLAIM_NAME))
    assert steps[removed + 1] == ("fsync_folder", in_place.claim_folder(config).name)
    assert ("rename", config.name) in steps[:removed]
