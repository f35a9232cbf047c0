from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from supervisor.journal import durable
from trainers import weights


def state_at(step: int) -> dict[str, object]:
    return {"network": {"w": torch.full((4,), float(step))}, "counters": {"t": step}}


def step_found(folder: Path) -> int | None:
    found = weights.load_point(folder)
    if found is None:
        return None
    step, state = found
    assert state["network"]["w"].tolist() == [float(step)] * 4
    return step


def test_what_was_packed_comes_back_to_the_bit() -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "f": rng.random((3, 2), dtype=np.float32),
        "d": rng.random(3),
        "u64": np.array([0, 2**64 - 1, 2**63], np.uint64),
        "u8": np.arange(4, dtype=np.uint8),
        "flag": np.array([True, False]),
        "slice": np.arange(12.0).reshape(3, 4)[:, 1],
        "nothing": np.zeros((0, 64), np.float32),
    }
    back = weights.unpack(weights.pack({"arrays": arrays, "scalar": np.float64(1.5), "pair": (1, 2.5)}))
    for name, array in arrays.items():
        found = back["arrays"][name].numpy()
        assert found.dtype == array.dtype
        assert found.shape == array.shape
        assert found.tobytes() == array.tobytes()
    assert (back["scalar"], back["pair"]) == (1.5, [1, 2.5])


def test_a_slice_does_not_carry_the_array_it_was_cut_from() -> None:
    assert len(weights.pack({"head": np.zeros((100_000, 64), np.float32)[:2]})) < 4000


def test_a_fresh_folder_has_no_resume_point(tmp_path: Path) -> None:
    assert weights.load_point(tmp_path) is None


def test_the_newest_of_several_points_is_found(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        weights.save_point(tmp_path, step, state_at(step))
        assert step_found(tmp_path) == step


@pytest.mark.parametrize("part", ["first", "middle", "last"])
def test_a_flipped_bit_leads_to_the_point_before(tmp_path: Path, part: str) -> None:
    weights.save_point(tmp_path, 10, state_at(10))
    weights.save_point(tmp_path, 20, state_at(20))
    path = tmp_path / weights.WEIGHTS_NAME
    data = bytearray(path.read_bytes())
    data[{"first": 0, "middle": len(data) // 2, "last": -1}[part]] ^= 1
    path.write_bytes(data)
    assert step_found(tmp_path) == 10


def test_with_both_files_damaged_the_training_starts_at_step_0(tmp_path: Path) -> None:
    weights.save_point(tmp_path, 10, state_at(10))
    weights.save_point(tmp_path, 20, state_at(20))
    for name in (weights.WEIGHTS_NAME, weights.PREVIOUS_NAME):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-7])
    assert step_found(tmp_path) is None


@pytest.mark.parametrize("text", [b"", b"{", b'{"current":{"step":1}}', b"\xff\xfe", b"[]"])
def test_with_the_progress_file_damaged_the_training_starts_at_step_0(tmp_path: Path, text: bytes) -> None:
    weights.save_point(tmp_path, 10, state_at(10))
    (tmp_path / weights.PROGRESS_NAME).write_bytes(text)
    assert step_found(tmp_path) is None


def operations(tmp_path: Path) -> list[tuple[str, str]]:
    """The durable operations of one save that replaces another."""
    seen: list[tuple[str, str]] = []
    weights.save_point(tmp_path, 10, state_at(10))
    durable.failpoint = lambda operation, path: seen.append((operation, path.name))
    weights.save_point(tmp_path, 20, state_at(20))
    durable.failpoint = None
    return seen


class KilledError(BaseException):
    """Stands for a SIGKILL: nothing catches it."""


@pytest.fixture
def no_failpoint():
    yield
    durable.failpoint = None


@pytest.mark.usefixtures("no_failpoint")
def test_killed_before_any_operation_of_a_save_one_whole_point_is_found(tmp_path: Path) -> None:
    (tmp_path / "count").mkdir()
    count = len(operations(tmp_path / "count"))
    found = []
    for fatal in range(count):
        folder = tmp_path / f"kill{fatal}"
        folder.mkdir()
        weights.save_point(folder, 10, state_at(10))
        weights.save_point(folder, 20, state_at(20))
        remaining = iter(range(fatal + 1))

        def kill(operation: str, path: Path, remaining=remaining, fatal=fatal) -> None:
            if next(remaining) == fatal:
                raise KilledError

        durable.failpoint = kill
        with pytest.raises(KilledError):
            weights.save_point(folder, 30, state_at(30))
        durable.failpoint = None
        found.append(step_found(folder))
        weights.save_point(folder, 40, state_at(40))
        assert step_found(folder) == 40
    assert set(found) == {20, 30}
    assert found == sorted(found)


@pytest.mark.usefixtures("no_failpoint")
def test_a_full_disk_leaves_the_last_point(tmp_path: Path) -> None:
    weights.save_point(tmp_path, 10, state_at(10))

    def full(operation: str, path: Path) -> None:
        if operation == "write":
            raise OSError(errno.ENOSPC, "No space left on device")

    durable.failpoint = full
    with pytest.raises(durable.DiskFullError):
        weights.save_point(tmp_path, 20, state_at(20))
    durable.failpoint = None
    assert step_found(tmp_path) == 10


def test_dropped_points_are_gone(tmp_path: Path) -> None:
    weights.save_point(tmp_path, 10, state_at(10))
    weights.save_point(tmp_path, 20, state_at(20))
    weights.drop_points(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_progress_file_names_the_hash_of_the_weights(tmp_path: Path) -> None:
    weights.save_point(tmp_path, 10, state_at(10))
    progress = json.loads((tmp_path / weights.PROGRESS_NAME).read_bytes())
    assert progress["current"] == {"step": 10, "sha256": durable.sha256_file(tmp_path / weights.WEIGHTS_NAME)}


def test_a_weights_file_is_taken_only_with_its_own_hash(tmp_path: Path) -> None:
    path = tmp_path / "final.pt"
    data = weights.pack({"network": {"w": torch.ones(2)}})
    path.write_bytes(data)
    sha256 = durable.sha256_bytes(data)
    assert weights.load_checked(path, sha256)["network"]["w"].tolist() == [1.0, 1.0]
    path.write_bytes(data[:-1] + b"\x01")
    with pytest.raises(ValueError, match=sha256):
        weights.load_checked(path, sha256)
    with pytest.raises(ValueError, match="missing"):
        weights.load_checked(tmp_path / "other.pt", sha256)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    torch.save({"network": Payload()}, tmp_path / "final.pt")
    with pytest.raises(Exception, match=r"weights_only|Unsupported"):
        weights.unpack((tmp_path / "final.pt").read_bytes())
    assert not (tmp_path / "owned").exists()
