"""GPU care through the real pynvml: on a stand-in for NVIDIA's library, and on a real GPU where there is one."""

import pytest

from tests.support.gpu_worlds import TOTAL_MB, RealGpu, StandIn, build_library, probing

NOT_SUPPORTED, GPU_IS_LOST = 3, 15


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return build_library(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def stand_in(library, tmp_path):
    return StandIn(library, tmp_path / "state")


@pytest.fixture(params=["stand-in", "real"])
def world(request):
    machine = request.getfixturevalue("stand_in") if request.param == "stand-in" else RealGpu()
    yield machine
    machine.close()


# on either


def test_what_our_own_processes_hold_is_not_the_others(world):
    with probing(world.environ) as probe:
        assert probe.ask("said") == ""
        assert int(probe.ask("total")) == world.total_mb
        before_mb = int(probe.ask("others"))
        probe.ask("hold", world.total_mb // 8)
        assert world.total_mb // 8 <= int(probe.ask("mine")) < world.total_mb // 8 + 1000
        assert abs(int(probe.ask("others")) - before_mb) < world.total_mb // 100


def test_a_trial_waits_while_others_fill_the_gpu_and_begins_once_they_clearly_do_not(world):
    with probing(world.environ) as probe:
        taken = int(probe.ask("others")) / world.total_mb
        limit = taken + 0.1
        probe.ask("limit", limit)
        assert probe.ask("admission") == "admitted"
        world.others_hold(round((limit + 0.05) * world.total_mb))
        assert "of the GPU's memory" in probe.ask("admission")
        world.others_hold(round(0.93 * limit * world.total_mb))
        assert "of the GPU's memory" in probe.ask("admission")  # below the limit, not yet clearly
        world.others_hold(round(taken * world.total_mb))
        assert probe.ask("admission") == "admitted"
        world.others_hold(round(0.93 * limit * world.total_mb))
        assert probe.ask("admission") == "admitted"  # who was not held back is not


def test_a_gpu_that_our_own_trials_fill_holds_nobody_back(world):
    with probing(world.environ) as probe:
        probe.ask("limit", 0.2)
        probe.ask("hold", world.total_mb // 2)
        assert probe.ask("admission") == "admitted"


def test_seconds_count_while_memory_is_held_and_only_then(world):
    with probing(world.environ) as probe:
        assert probe.ask("meter", 0.25, 5.0) == f"0.0 0 {world.total_mb // 4 + 600}"
        probe.ask("hold", 100)
        seconds, held_mb, limit_mb = probe.ask("meter", 0.25, 5.0).split()
        assert (float(seconds), int(limit_mb)) == (5.0, world.total_mb // 4 + 600)
        assert int(held_mb) >= 100
        assert probe.ask("meter", 0.25, 2.5).startswith("7.5 ")


# what a real one cannot be made to do


def test_a_driver_that_goes_away_while_it_is_in_use_is_an_event_and_so_is_its_return(stand_in):
    with probing(stand_in.environ) as probe:
        probe.ask("limit", 0.5)
        stand_in.others_hold(TOTAL_MB)
        assert "100 % of the GPU's memory" in probe.ask("admission")
        stand_in.fail(GPU_IS_LOST)
        assert probe.ask("admission") == "admitted"
        assert probe.ask("admission") == "admitted"
        assert probe.ask("mine") == "None"
        assert probe.ask("meter", 0.25, 5.0) == "0.0 0 None"
        assert probe.ask("events").startswith("gpu_lost: cuda:0 Card: the driver does not answer (GPU is lost)")
        stand_in.fail(0)
        assert "100 % of the GPU's memory" in probe.ask("admission")
        first, second = probe.ask("events").split("; gpu_back: ")
        assert (first.count("gpu_lost"), second) == (1, "cuda:0 Card: the driver answers again")


def test_a_gpu_that_falls_off_the_bus_is_an_event_too(stand_in):
    with probing(stand_in.environ) as probe:
        probe.ask("limit", 0.5)
        stand_in.tell()
        assert probe.ask("admission") == "admitted"
        assert probe.ask("events").count("gpu_lost") == 1


def test_where_the_driver_does_not_tell_what_we_hold_nobody_is_held_back_for_it(stand_in):
    with probing(stand_in.environ) as probe:
        probe.ask("limit", 0.5)
        stand_in.others_hold(round(0.6 * TOTAL_MB))
        assert "60 % of the GPU's memory" in probe.ask("admission")  # none of it is ours: that much is told
        probe.ask("hold", -1)
        assert (probe.ask("mine"), probe.ask("others")) == ("None", "None")
        assert probe.ask("admission") == "admitted"
        assert probe.ask("meter", 0.25, 5.0) == f"5.0 0 {TOTAL_MB // 4 + 600}"  # the seconds are told all the same


def test_a_gpu_whose_processes_are_not_listed_holds_nobody_back(stand_in):
    stand_in.tell(("GPU-one", TOTAL_MB, TOTAL_MB, NOT_SUPPORTED))
    with probing(stand_in.environ) as probe:
        probe.ask("limit", 0.5)
        assert probe.ask("admission") == "admitted"
        assert probe.ask("meter", 0.25, 5.0) == f"0.0 0 {TOTAL_MB // 4 + 600}"
        assert probe.ask("events") == ""


@pytest.mark.parametrize(
    ("visible", "total_mb"), [("0", 1000), ("1", 2000), ("1,0", 2000), ("GPU-two", 2000), (None, 1000)]
)
def test_of_several_gpus_the_first_that_cuda_sees_counts(stand_in, visible, total_mb, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    stand_in.tell(("GPU-one", 1000, 0, 0), ("GPU-two", 2000, 0, 0))
    environ = {name: value for name, value in stand_in.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    with probing(environ | ({"CUDA_VISIBLE_DEVICES": visible} if visible is not None else {})) as probe:
        assert int(probe.ask("total")) == total_mb


@pytest.mark.parametrize(
    ("visible", "cards"),
    [
        (None, "cuda:0 Card=GPU-one, cuda:1 Old card=GPU-old, cuda:2 Card=GPU-three"),
        ("2,0", "cuda:0 Card=GPU-three, cuda:1 Card=GPU-one"),
        ("GPU-old", "cuda:0 Old card=GPU-old"),
        ("1,9,0", "cuda:0 Old card=GPU-old"),  # CUDA sees none behind one that is not there
    ],
)
def test_gpus_are_numbered_as_cuda_would_and_named_by_what_no_order_changes(stand_in, visible, cards, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    stand_in.tell(*((uuid, 1000, 0, 0) for uuid in ("GPU-one", "GPU-old", "GPU-three")))
    environ = {name: value for name, value in stand_in.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    with probing(environ | ({"CUDA_VISIBLE_DEVICES": visible} if visible is not None else {})) as probe:
        assert probe.ask("cards") == cards


def test_a_gpu_whose_driver_tells_no_uuid_is_named_by_its_number(stand_in):
    stand_in.tell(("GPU-one", 1000, 0, 0), ("nameless", 1000, 0, 0))
    with probing(stand_in.environ | {"CUDA_VISIBLE_DEVICES": "1"}) as probe:
        assert probe.ask("cards") == "cuda:0 Card=1"


def test_trials_wait_only_while_others_fill_every_gpu(stand_in):
    stand_in.tell(("GPU-one", 1000, 900, 0), ("GPU-two", 1000, 0, 0))
    with probing(stand_in.environ | {"CUDA_VISIBLE_DEVICES": "0,1"}) as probe:
        probe.ask("limit", 0.5)
        assert probe.ask("admission") == "admitted"
        stand_in.tell(("GPU-one", 1000, 900, 0), ("GPU-two", 1000, 700, 0))
        assert "70 % of the GPU's memory" in probe.ask("admission")


@pytest.mark.parametrize("hidden", ["", "-1", "7", "GPU-three"])
def test_a_gpu_that_cuda_does_not_see_is_none(stand_in, hidden):
    with probing(stand_in.environ | {"CUDA_VISIBLE_DEVICES": hidden}) as probe:
        assert "training and serving on the CPU" in probe.ask("said")
        probe.ask("limit", 0.5)
        assert probe.ask("admission") == "admitted"


def test_a_driver_without_a_gpu_and_a_library_without_a_driver_are_said(stand_in):
    stand_in.tell()
    with probing(stand_in.environ) as probe:
        assert probe.ask("said").startswith("No GPU (")
    (stand_in.state / "gpus").unlink()
    with probing(stand_in.environ) as probe:
        assert probe.ask("said").startswith("No GPU (Driver Not Loaded)")
