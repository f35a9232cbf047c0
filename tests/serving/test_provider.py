"""What models run on, how the GPU's memory is shared out among them, and what the operator hears of it."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.commands.serve import options_of
from supervisor.config.settings import Settings
from supervisor.serving import session as sessions
from supervisor.serving.gpu_room import MIB, OUTSIDE_BYTES, Room, arena_bytes, serving_bytes
from supervisor.serving.leash import Leash
from supervisor.serving.on_device import OnDevice, cuda_options
from supervisor.serving.options import ServerOptions
from supervisor.serving.provider import CPU, CUDA, Choice, Found, choose, find
from supervisor.serving.session import build
from tests.support import onnx_models as models
from tests.support.gpu_worlds import RealGpu, StandIn, build_library
from tests.support.served_folder import TARGET, ServedFolder
from tests.support.server_process import ServerProcess

USABLE = Found(12 << 30, None)
BROKEN = Found(12 << 30, "libcublas.so.13 is not there")
NO_GPU = Found(None, "No GPU")
STATES = np.random.default_rng(3).standard_normal((5, models.STATE)).astype(np.float32)
ON_THE_CPU = "serving on the CPU though"


# pure


@pytest.mark.parametrize("found", [USABLE, BROKEN, NO_GPU])
def test_who_asks_for_the_cpu_gets_it_and_hears_nothing(found: Found) -> None:
    assert choose("cpu", found) == Choice(CPU)


def test_cuda_is_taken_where_it_can_be_used_whether_asked_for_or_not() -> None:
    assert choose("auto", USABLE) == choose("cuda", USABLE) == Choice(CUDA)


def test_a_machine_without_a_gpu_is_news_only_to_who_asked_for_one() -> None:
    assert choose("auto", NO_GPU) == Choice(CPU)
    asked = choose("cuda", NO_GPU)
    assert (asked.provider, asked.warning) == (CPU, f"{ON_THE_CPU} serving.provider is cuda: No GPU")


@pytest.mark.parametrize("asked", ["auto", "cuda"])
def test_a_gpu_that_cannot_be_used_is_said_with_the_reason(asked: str) -> None:
    choice = choose(asked, BROKEN)  # type: ignore[arg-type]
    assert choice.provider == CPU
    assert choice.warning is not None
    assert "libcublas.so.13 is not there" in choice.warning


def test_the_settings_say_what_models_run_on_and_how_much_of_the_gpu_is_theirs() -> None:
    settings = Settings.model_validate({"serving": {"provider": "cuda"}, "budgets": {"vram_fraction": 0.25}})
    assert (options_of(settings).provider, options_of(settings).vram_fraction) == ("cuda", 0.75)
    assert options_of(Settings()).provider == "auto"


def test_serving_has_what_training_leaves_less_what_cuda_takes_for_itself() -> None:
    gib = 1 << 30
    fraction = 1.0 - Settings().budgets.vram_fraction
    assert ServerOptions().vram_fraction == pytest.approx(fraction) == pytest.approx(0.7)
    assert serving_bytes(12 * gib, fraction) == pytest.approx(8.4 * gib - gib / 2, abs=2)
    assert serving_bytes(gib // 4, fraction) == 0


def test_the_54_models_and_the_one_before_each_fit_the_smallest_gpu_that_is_asked_for() -> None:
    room = Room(serving_bytes(12 << 30, 0.7))
    shares = [room.take(arena_bytes(MIB // 2, 2 * MIB)) for _ in range(2 * 54)]
    assert None not in shares


def test_a_larger_model_gets_more_and_none_gets_nothing() -> None:
    assert 0 < arena_bytes(1000, 0) < arena_bytes(100 * MIB, 0) < arena_bytes(100 * MIB, 50 * MIB)
    assert arena_bytes(100 * MIB, 50 * MIB) >= 150 * MIB


@given(st.integers(0, 10_000 * MIB), st.lists(st.tuples(st.integers(0, 2000 * MIB), st.booleans()), max_size=40))
def test_all_shares_together_never_take_more_than_there_is(total_bytes: int, takes: list[tuple[int, bool]]) -> None:
    room, held = Room(total_bytes), []
    for wanted_bytes, gives_one_back in takes:
        if gives_one_back and held:
            held.pop()
        left_bytes = room.left_bytes
        share = room.take(wanted_bytes)
        assert (share is not None) == (wanted_bytes + OUTSIDE_BYTES <= left_bytes)
        if share is not None:
            held.append(share)
        assert total_bytes - sum(own.whole_bytes for own in held) == room.left_bytes >= 0


def test_the_runtime_is_told_the_limit() -> None:
    share = Room(1 << 30).take(100 * MIB)
    assert share is not None
    assert cuda_options(share)["gpu_mem_limit"] == str(100 * MIB)


# real, on any machine


def plain(data: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(data, providers=[CPU])


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_through_bindings_comes_what_comes_without_them(kind: type) -> None:
    session = plain(models.mlp(1, kind=kind))
    bound = OnDevice(session, None, device="cpu")
    for rows in (1, 5, 2):  # one after the other, of changing size
        states = np.asfortranarray(STATES[:rows].astype(kind))
        (values,) = bound.run(None, {"state": states})
        np.testing.assert_array_equal(values, session.run(None, {"state": states})[0])
        assert values.dtype == kind


def test_bindings_keep_the_order_of_several_outputs_and_take_inputs_in_any() -> None:
    session = plain(models.two_inputs()[0])
    given = {"state": np.ones((2, 3), np.float32), "grid": np.ones((2, 2, 3), np.float32)}
    for values, expected in zip(
        OnDevice(session, None, device="cpu").run(None, given, onnxruntime.RunOptions()),
        session.run(None, given),
        strict=True,
    ):
        np.testing.assert_array_equal(values, expected)


def test_what_the_gpu_has_no_room_for_runs_on_the_cpu_and_says_so() -> None:
    room = Room(10 * MIB)
    session = build(models.mlp(1), models.INTERFACE, 256, Leash(), room)
    assert session.provider == CPU
    assert session.note == "runs on the CPU: it would take 16 MB and 10 MB are left for serving"
    assert room.left_bytes == room.total_bytes
    np.testing.assert_allclose(session.run({"state": STATES})["q_values"], models.mlp_values(1, STATES), atol=1e-4)


def serves(folder: Path, provider_wanted: str = CPU, **options: str) -> list[str]:
    """What a real server says, having answered for two models on that provider."""
    run = ServedFolder(folder)
    run.promote(models.mlp(1))
    run.promote(models.mlp(2), "mage/combat_dqn")
    with ServerProcess(run.path, ServerOptions(port=0, **options), is_fork=False) as server:  # type: ignore[arg-type]
        for seed, target in ((1, TARGET), (2, "mage/combat_dqn")):
            answer = server.post(f"/infer/{target}", {"states": STATES.tolist()})
            assert answer.status == 200
            np.testing.assert_allclose(
                answer.body["outputs"]["q_values"], models.mlp_values(seed, STATES), rtol=2e-2, atol=2e-2
            )
        assert {own["provider"] for own in server.get("/models").body["models"]} == {provider_wanted}
        return server.lines


def without_cuda() -> None:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return
    pytest.skip("NVIDIA's driver is here, so CUDA loads")


def test_a_server_that_is_to_use_cuda_and_cannot_serves_on_the_cpu_and_says_why_once(tmp_path: Path) -> None:
    without_cuda()
    (warning,) = [line for line in serves(tmp_path / "run", provider="cuda") if "CPU" in line]
    assert warning.startswith(f"{ON_THE_CPU} serving.provider is cuda: No GPU (")


@pytest.mark.parametrize("provider", ["auto", "cpu"])
def test_a_server_without_a_gpu_that_nobody_asked_for_says_nothing_of_it(tmp_path: Path, provider: str) -> None:
    without_cuda()
    assert not [line for line in serves(tmp_path / "run", provider=provider) if "CPU" in line or "GPU" in line]


def test_a_gpu_whose_cuda_does_not_load_is_said_with_the_library_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_cuda()
    stand_in = StandIn(build_library(tmp_path), tmp_path / "state")
    for name, value in stand_in.environ.items():
        monkeypatch.setenv(name, value)
    (warning,) = [line for line in serves(tmp_path / "run") if "CPU" in line]
    assert warning.startswith(f"{ON_THE_CPU} there is a GPU: libcuda.so.1: ")


def test_a_provider_that_does_not_load_after_all_is_noted_with_the_model() -> None:
    without_cuda()
    session = build(models.mlp(1), models.INTERFACE, 256, Leash(), Room(1 << 30))
    assert (session.provider, session.note) == (CPU, "runs on the CPU: CUDA was not loaded for it")


# with a GPU


@pytest.fixture
def gpu() -> Found:
    """Skips where CUDA cannot be used."""
    RealGpu().close()
    found = find()
    if found.problem is not None:
        pytest.skip(f"CUDA cannot be used here: {found.problem}")
    return found


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_a_model_on_the_gpu_answers_as_on_the_cpu_and_gives_its_room_back(gpu: Found, kind: type) -> None:
    assert gpu.gpu_bytes is not None
    room = Room(serving_bytes(gpu.gpu_bytes, 0.7))
    session = build(models.mlp(1, kind=kind), models.INTERFACE, 256, Leash(), room)
    assert (session.provider, session.note) == (CUDA, "")
    assert room.left_bytes < room.total_bytes
    for rows in (1, 5, 2):
        values = session.run({"state": STATES[:rows].astype(kind)})["q_values"]
        np.testing.assert_allclose(values, models.mlp_values(1, STATES[:rows]), rtol=5e-2, atol=5e-2)
    del session
    assert room.left_bytes == room.total_bytes


def test_a_model_that_its_share_does_not_hold_runs_on_the_cpu(gpu: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu.gpu_bytes is not None
    monkeypatch.setattr(sessions, "arena_bytes", lambda *_: 1024)
    session = build(models.mlp(1, hidden=1024), models.INTERFACE, 256, Leash(), Room(1 << 30))
    assert session.provider == CPU
    assert session.note.startswith("runs on the CPU: ")


def test_a_server_on_a_machine_with_a_gpu_serves_on_it(gpu: Found, tmp_path: Path) -> None:
    assert gpu.problem is None
    assert not [line for line in serves(tmp_path / "run", CUDA) if "on the CPU" in line]
