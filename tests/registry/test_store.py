"""The content-addressed store: what it hands out is what its names promise."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.contract import Interface, Version
from supervisor.journal import durable
from supervisor.registry.store import (
    DamagedFileError,
    MissingFileError,
    ModelStore,
    OversizeFileError,
    UnreadableFileError,
)

DATA = b"model bytes"
SHA = hashlib.sha256(DATA).hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "trial-model.onnx"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "run")


def test_what_was_put_is_read_back_under_its_hash(store: ModelStore, source: Path) -> None:
    path = store.put(source, SHA)
    assert path == store.folder / f"{SHA}.onnx"
    assert store.read(SHA) == DATA
    assert store.verify(SHA)


def test_weights_and_model_of_one_hash_are_two_files(store: ModelStore, source: Path) -> None:
    store.put(source, SHA, ".pt")
    assert not store.verify(SHA, ".onnx")
    assert store.verify(SHA, ".pt")


def test_bytes_of_another_hash_are_not_stored(store: ModelStore, source: Path) -> None:
    with pytest.raises(DamagedFileError, match="expected"):
        store.put(source, OTHER)
    assert not store.folder.exists()


def test_putting_twice_writes_once(store: ModelStore, source: Path) -> None:
    before = os.stat(store.put(source, SHA)).st_ino
    assert os.stat(store.put(source, SHA)).st_ino == before


def test_a_damaged_file_is_replaced_when_it_is_put_again(store: ModelStore, source: Path) -> None:
    store.put(source, SHA).write_bytes(b"model byteS")
    assert not store.verify(SHA)
    store.put(source, SHA)
    assert store.read(SHA) == DATA


def test_a_flipped_bit_is_noticed_when_reading(store: ModelStore, source: Path) -> None:
    path = store.put(source, SHA)
    path.write_bytes(bytes([DATA[0] ^ 1]) + DATA[1:])
    with pytest.raises(DamagedFileError, match="damaged or replaced"):
        store.read(SHA)


def test_a_missing_file_is_said_to_be_missing(store: ModelStore) -> None:
    with pytest.raises(MissingFileError, match="no such file"):
        store.read(SHA)


def test_a_file_over_the_cap_is_not_read(store: ModelStore, source: Path) -> None:
    store.put(source, SHA)
    with pytest.raises(OversizeFileError):
        store.read(SHA, max_bytes=len(DATA) - 1)
    assert store.read(SHA, max_bytes=len(DATA)) == DATA


def test_a_link_in_place_of_a_file_is_not_followed(store: ModelStore, source: Path) -> None:
    store.folder.mkdir(parents=True)
    store.path(SHA).symlink_to(source)
    with pytest.raises(MissingFileError, match="cannot be opened"):
        store.read(SHA)


def test_a_pipe_in_place_of_a_file_does_not_hang_the_reader(store: ModelStore) -> None:
    store.folder.mkdir(parents=True)
    os.mkfifo(store.path(SHA))
    with pytest.raises(MissingFileError, match="not a regular file"):
        store.read(SHA)


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.ENOMEM, errno.EACCES, errno.ESTALE])
def test_a_file_that_cannot_be_read_just_now_does_not_count_as_damaged(
    store: ModelStore, source: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    store.put(source, SHA)

    def fail(path: Path, *_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    version = Version("v000001", 1, {}, SHA, interface=Interface({}, {}))
    with monkeypatch.context() as failing:
        failing.setattr(Path, "open", fail)
        failing.setattr(os, "open", fail)
        for use in (store.verify, store.read, lambda _: store.has(version), lambda _: store.put(source, SHA)):
            with pytest.raises(UnreadableFileError, match=f"{SHA}.*{os.strerror(number)}.*start again") as caught:
                use(SHA)
            assert caught.value.exit_code == 75
    assert store.has(version)


def test_a_disk_that_fails_while_the_bytes_are_read_does_not_count_as_damage(store: ModelStore) -> None:
    store.folder.mkdir(parents=True)
    store.path(SHA).symlink_to("/proc/self/mem")  # can be opened, and its first bytes cannot be read: EIO
    with pytest.raises(UnreadableFileError, match="Input/output error"):
        store.verify(SHA)


def test_a_folder_in_place_of_a_file_is_not_the_file(store: ModelStore) -> None:
    store.path(SHA).mkdir(parents=True)
    assert not store.verify(SHA)


@pytest.mark.parametrize("name", ["../../etc/passwd", SHA.upper(), SHA[:-1], "", SHA + "\n", "a" * 63 + "/"])
def test_only_a_hash_can_name_a_file(store: ModelStore, name: str) -> None:
    with pytest.raises(ValueError, match="not a sha256"):
        store.path(name)


def test_only_the_two_suffixes_exist(store: ModelStore) -> None:
    with pytest.raises(ValueError, match="files"):
        store.path(SHA, "/../x")


def test_retention_removes_our_unused_files_and_half_written_ones_only(store: ModelStore, source: Path) -> None:
    store.put(source, SHA)
    store.put(source, SHA, ".pt")
    unused = [f"{OTHER}.onnx", f"{OTHER}.pt", f".{OTHER}.onnx.tmp"]
    foreign = ["active.json", "notes.txt", "model.onnx", f"{OTHER}.onnx.bak"]
    for name in [*unused, *foreign]:
        (store.folder / name).write_bytes(b"x")
    assert sorted(store.retain({SHA})) == sorted(unused)
    assert sorted(path.name for path in store.folder.iterdir()) == sorted([*foreign, f"{SHA}.onnx", f"{SHA}.pt"])


def test_retention_of_a_store_that_is_not_there_yet_removes_nothing(store: ModelStore) -> None:
    assert store.retain(set()) == ()


def test_a_crash_while_storing_leaves_no_file_under_the_name(
    store: ModelStore, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash(Exception):  # noqa: N818 - stands for a power cut
        pass

    def fail(operation: str, path: Path) -> None:
        if operation == "rename":
            raise Crash

    monkeypatch.setattr(durable, "failpoint", fail)
    with pytest.raises(Crash):
        store.put(source, SHA)
    monkeypatch.setattr(durable, "failpoint", None)
    assert not store.verify(SHA)
    store.put(source, SHA)
    assert store.retain({SHA}) == ()
    assert store.read(SHA) == DATA


@pytest.mark.parametrize("suffix", [".onnx", ".pt"])
@pytest.mark.parametrize("how", ["changed", "gone"])
def test_a_version_with_a_damaged_file_is_none_to_go_back_to(
    store: ModelStore, source: Path, suffix: str, how: str
) -> None:
    version = Version("v000001", 1, {}, SHA, SHA, interface=Interface({}, {}))
    for each in (".onnx", ".pt"):
        store.put(source, SHA, each)
    assert store.has(version)
    path = store.path(SHA, suffix)
    if how == "changed":
        path.write_bytes(DATA[:-1])
    else:
        path.unlink()
    assert not store.has(version)
    assert store.has(replace(version, interface=None))
