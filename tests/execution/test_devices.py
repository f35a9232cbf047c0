"""What a trial computes on: who decides it, who is told when it cannot be, and what becomes of a GPU that goes away."""

import json
from dataclasses import replace

import pytest

from supervisor.contract import Reason, TrialSpec, as_json, parse
from supervisor.execution.device import Card, Device, Machine, device_of, problem_of, starts_over
from supervisor.execution.room import GpuRoom, Room, fits
from supervisor.flight import Flight
from supervisor.journal.events import EVENTS_NAME
from supervisor.journal.log import read_log
from supervisor.journal.trial_folder import TrialFolder
from supervisor.signals import Signals
from tests.support.inline_executor import InlineExecutor
from tests.support.programs import trial_spec
from tests.support.small_run import SmallRun, comparable, definition
from trainers import worker

CARDS = (Card(0, "GPU-one", "Card"), Card(1, "GPU-two", "Card"))
TWO_GPUS = Machine(CARDS, torch_has_cuda=True)
NO_CUDA = Machine(CARDS, torch_has_cuda=False)
OWN = "tests.support.noop:NoopTarget"


# the rule


@pytest.mark.parametrize(
    ("setting", "machine", "kind", "scale", "device"),
    [
        ("auto", TWO_GPUS, "arena", "full", "cuda"),
        ("auto", TWO_GPUS, "gymnasium", "full", "cuda"),
        ("auto", TWO_GPUS, "arena", "small", "cpu"),  # too small to gain
        ("auto", Machine(), "arena", "full", "cpu"),
        ("auto", NO_CUDA, "arena", "full", "cpu"),
        ("auto", NO_CUDA, "command", "small", "auto"),  # its program need not be torch
        ("auto", Machine(), OWN, "small", "auto"),
        ("cpu", TWO_GPUS, "arena", "full", "cpu"),
        ("cpu", TWO_GPUS, "command", "small", "cpu"),
        ("cuda:1", TWO_GPUS, "arena", "small", "cuda:1"),
    ],
)
def test_auto_takes_a_gpu_for_what_may_gain_from_one_and_a_word_is_a_word(setting, machine, kind, scale, device):
    found, reason = device_of(setting, machine, kind, scale)
    assert found == device
    assert reason


@pytest.mark.parametrize(
    ("setting", "machine", "kind", "said"),
    [
        ("cuda:2", TWO_GPUS, "arena", "there is no cuda:2: there are cuda:0 Card, cuda:1 Card; give one that is there"),
        ("cuda:0", Machine(), OWN, "there is no cuda:0: there is no GPU"),
        ("cuda:1", Machine(CARDS[:1]), OWN, "there is no cuda:1: there is cuda:0 Card"),
        ("cuda:0", NO_CUDA, "arena", "the installed torch is built without CUDA; install one with it"),
        ("cuda:0", NO_CUDA, "command", None),
        ("cuda:1", TWO_GPUS, "arena", None),
        ("auto", Machine(), "arena", None),
        ("cpu", Machine(), "arena", None),
    ],
)
def test_a_device_that_is_not_there_is_said_with_what_there_is(setting, machine, kind, said):
    problem = problem_of(setting, machine, kind)
    assert problem is None if said is None else problem.startswith(said)


@pytest.mark.parametrize(
    ("begun_on", "setting", "over"),
    [
        ("cuda", "cpu", True),
        ("cuda:1", "cpu", True),
        ("cpu", "cuda:0", True),
        ("cuda", "auto", False),  # it waits for a GPU: nobody has said otherwise
        ("cpu", "auto", False),
        ("cuda:0", "cuda:1", False),  # of one kind; its name is compared where it starts
        ("auto", "cpu", False),
    ],
)
def test_a_training_starts_over_only_where_somebody_asks_for_another_kind_of_device(begun_on, setting, over):
    assert starts_over(begun_on, setting) is over


# one trial


def flight_of(tmp_path, **changes):
    spec = trial_spec({}, **{"kind": "arena", "device": "cuda", **changes})
    folder = TrialFolder(tmp_path / "000001")
    folder.create(spec)
    return Flight(spec, folder, "now")


class Taking:
    def __init__(self):
        self.launches = []

    def submit(self, launch):
        self.launches.append(launch)
        return "handle"


def test_which_gpu_a_build_is_on_is_a_fact_before_it_runs_and_it_goes_on_on_its_like(tmp_path):
    flight, executor = flight_of(tmp_path), Taking()
    assert (flight.want.device, flight.want.like) == ("cuda", None)
    flight.launch(executor, 1, device=Device(CARDS[1]))
    assert executor.launches[0].device.visible == "GPU-two"
    again = Flight.take_up(flight.folder.spec(), flight.folder, "later")
    assert (again.want.device, again.want.like) == ("cuda", "Card")
    assert again.time_used()["device"] == "cuda:1 Card"
    again.launch(executor, 1, device=Device(CARDS[1]))
    again.launch(executor, 1, device=Device(CARDS[0]))
    told = [fact["gpu"] for fact in flight.folder.facts() if fact["fact"] == "device"]
    assert told == ["GPU-two", "GPU-one"]  # once each


def test_another_kind_of_device_forgets_what_was_saved_and_is_remembered(tmp_path):
    flight = flight_of(tmp_path)
    flight.launch(Taking(), 1, device=Device(CARDS[1]))
    (flight.folder.path / "weights.pt").write_bytes(b"from a GPU")
    flight.start_over_on("cpu")
    assert not (flight.folder.path / "weights.pt").exists()
    again = Flight.take_up(flight.folder.spec(), flight.folder, "later")
    assert (again.want.device, again.want.like, again.time_used()["device"]) == ("cpu", None, "cpu")


def test_the_games_of_our_own_networks_are_played_on_the_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(Flight, "stage", "duel")
    assert flight_of(tmp_path / "ours").want.device == "cpu"
    assert flight_of(tmp_path / "theirs", kind="command").want.device == "cuda"


def test_a_program_that_was_shown_a_gpu_and_left_it_alone_ran_on_the_cpu(tmp_path):
    flight = flight_of(tmp_path, kind="command", device="auto")
    flight.launch(Taking(), 1, device=Device(CARDS[0], free=True))
    assert flight.time_used()["device"] == "cpu"
    flight.exits.append({"fact": "exit", "kind": "done", "seconds": 1.0, "gpu_s": 2.0, "counts": False})
    assert flight.time_used()["device"] == "cuda:0 Card"


def test_a_trial_of_a_program_that_knew_no_devices_goes_on_as_it_was_begun(tmp_path):
    body = as_json(trial_spec({}, kind="arena"))
    assert body.pop("device") == "auto"
    old = parse(TrialSpec, body)
    assert Flight(old, TrialFolder(tmp_path), "now").want.device == "cpu"
    assert Flight(replace(old, kind="command"), TrialFolder(tmp_path), "now").want.device == "auto"


# a run


class Gpus:
    """What answers; `room` and `machine` as the loop asks for them."""

    def __init__(self, *cards):
        self.cards = cards
        self.placed = []

    def room(self, running, further, want):
        there = tuple(GpuRoom(card, 1000, 0.0) for card in self.cards)
        placement = fits(running, further, want, Room(1e9, there))
        self.placed.append((want.device, placement.device.visible if placement.admitted else placement.reason))
        return placement

    def machine(self):
        return Machine(self.cards, torch_has_cuda=True)


def run_with(tmp_path, devices, **settings):
    definitions = {key: replace(definition(key), device=device) for key, device in devices.items()}
    return SmallRun(tmp_path, tuple(devices), definitions=definitions, settings=settings, window=4)


def events_of(run):
    path = run.run_dir / EVENTS_NAME
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_where_it_computes_changes_nothing_else_in_a_line_and_stands_beside_it(tmp_path):
    here = run_with(tmp_path / "here", {"aggressive/noop": "cuda:1", "mage/noop": "cpu"})
    gpus = Gpus(*CARDS)
    here.run(4, slots=2, room=gpus.room, machine=gpus.machine)
    plain = run_with(tmp_path / "plain", {"aggressive/noop": "auto", "mage/noop": "auto"})
    plain.run(4, slots=2)
    records = read_log(here.run_dir).records
    assert comparable(records) == comparable(read_log(plain.run_dir).records)
    assert [record.chain for record in records] == [record.chain for record in read_log(plain.run_dir).records]
    assert [record.time["device"] for record in records] == ["cuda:1 Card", "cpu"] * 2
    assert dict(gpus.placed) == {"cuda:1": "GPU-two", "cpu": ""}


def test_a_gpu_that_is_not_there_is_waited_for_and_others_go_on_meanwhile(tmp_path):
    run = run_with(tmp_path, {"aggressive/noop": "cuda:0", "mage/noop": "cpu"})
    gpus, started = Gpus(), []

    class Watching(InlineExecutor):
        """Brings the GPU back once a trial has started that does without it."""

        def submit(self, launch):
            started.append(launch.iteration)
            if launch.iteration == 2:
                gpus.cards = CARDS
            return super().submit(launch)

    run.run(2, slots=2, room=gpus.room, machine=gpus.machine, executor=Watching(worker.main, 2))
    assert started[:2] == [2, 1]
    assert [record.status.value for record in read_log(run.run_dir).records] == ["complete"] * 2
    [told] = [event for event in events_of(run) if event["event"] == "gpu_missing"]
    assert told["reason"].startswith(
        "iteration 1 (aggressive/noop) waits: it needs cuda:0; GPUs that answer: none. It fails unless one comes back"
    )


def test_one_that_does_not_come_back_costs_the_trial_and_not_the_run(tmp_path):
    run = run_with(tmp_path, {"aggressive/noop": "cuda:0", "mage/noop": "cpu"}, resources={"wait_s": 0.0})
    gpus = Gpus()
    run.run(4, room=gpus.room, machine=gpus.machine)
    records = read_log(run.run_dir).records
    assert [(record.status.value, record.reason) for record in records[:2]] == [
        ("failed", Reason.GPU_GONE),
        ("complete", records[1].reason),
    ]
    assert "it needs cuda:0; GPUs that answer: none" in records[0].time["detail"]
    assert len(records) == 4


def test_started_again_with_another_word_the_trial_that_waited_begins_anew_there(tmp_path):
    run, gpus, signals = run_with(tmp_path, {"aggressive/noop": "cuda:0"}), Gpus(), Signals()

    class Stopping(InlineExecutor):
        def wait(self, timeout_s, also=()):
            signals.stop_asked = True
            super().wait(0.0, also)

    run.run(1, room=gpus.room, machine=gpus.machine, executor=Stopping(worker.main), signals=signals)
    signals.close()
    assert not read_log(run.run_dir).records
    assert json.loads((run.run_dir / "trials" / "000001" / "trial.json").read_text())["device"] == "cuda:0"
    run.definitions = {key: replace(known, device="cpu") for key, known in run.definitions.items()}
    run.run(1, room=gpus.room, machine=gpus.machine)
    [record] = read_log(run.run_dir).records
    assert (record.status.value, record.time["device"]) == ("complete", "cpu")
    assert json.loads((run.run_dir / "trials" / "000001" / "trial.json").read_text())["device"] == "cpu"
    [told] = [event["reason"] for event in events_of(run) if event["event"] == "trial_restarted"]
    assert told == (
        "iteration 1 was to compute on cuda:0 and starts from step 0 on cpu (targets.aggressive/noop.device)"
    )
