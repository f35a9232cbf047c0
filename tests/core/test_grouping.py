"""Who trains with whom, and who waits for company: the rule alone, on trials that nobody runs."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from supervisor.contract import Reason
from supervisor.execution.device import Card, Device
from supervisor.execution.executor import Exit, ExitKind
from supervisor.flight import Flight
from supervisor.grouping import OF_ONE_SHAPE, group_for, size_of_groups
from supervisor.journal.trial_folder import TrialFolder
from tests.support.arena_trials import small_spec
from trainers import catalogue
from trainers.algorithms import dqn_args, population
from trainers.learner import Stacking


@pytest.fixture
def flights(tmp_path):
    return [in_flight(tmp_path, iteration) for iteration in range(1, 6)]


def in_flight(tmp_path: Path, iteration: int, **changes) -> Flight:
    spec = replace(small_spec(purpose="search"), iteration=iteration, **changes)
    folder = TrialFolder.of(tmp_path, iteration)
    folder.create(spec)
    return Flight(spec, folder, "now")


def running(flight, group=()):
    flight.handle, flight.group = "handle", group
    flight.folder.write_group(group)
    return flight


def group(flight, flights, cpus=1, size=4):
    ready = [other for other in flights if other.waits_for_process]
    return group_for(flight, ready, flights, cpus, size)


@pytest.mark.parametrize(
    ("workers", "cpus", "size"), [(1, 1, 1), (1, 2, 1), (2, 2, 1), (3, 2, 2), (8, 2, 4), (8, 1, 8)]
)
def test_a_group_is_as_large_as_keeps_every_cpu_at_work(workers, cpus, size):
    assert size_of_groups(workers, cpus) == size


def test_the_first_takes_the_next_ones_with_it_as_far_as_a_group_goes(flights):
    assert group(flights[0], flights) == (2, 3, 4)
    assert group(flights[0], flights, size=2) == (2,)
    assert group(flights[0], flights, size=1) == ()


def test_what_trains_in_one_process_computes_on_one_device(tmp_path):
    flights = [in_flight(tmp_path, number, device=on) for number, on in enumerate(("cpu", "cuda:1", "cpu"), start=1)]
    assert group(flights[0], flights) == (3,)


def test_what_was_begun_on_another_kind_of_gpu_trains_in_another_process(tmp_path):
    flights = [in_flight(tmp_path, number, device="cuda") for number in range(1, 5)]
    for flight, name in zip(flights, ("new", "old", "new"), strict=False):
        flight.note_device(Device(Card(0, "GPU-one", name)))
    assert group(flights[0], flights) == (3,)
    assert group(flights[3], flights) == ()


def test_those_in_a_group_wait_for_the_end_of_its_trainings_and_then_start_by_themselves(flights):
    leader = running(flights[0], (2, 3, 4))
    assert group(flights[1], flights) is None
    leader.folder.write_group(())
    for flight in flights[1:4]:
        (flight.folder.path / "trained").touch()
    assert group(flights[1], flights) == ()


def test_when_the_process_of_a_group_is_gone_they_do_not_wait_for_it(flights):
    leader = running(flights[0], (2, 3, 4))
    leader.handle = None
    assert group(flights[1], flights[1:]) == (3, 4, 5)


def test_where_every_cpu_has_a_process_it_waits_until_the_group_is_full(flights):
    running(flights[0])
    assert group(flights[1], flights[:4]) is None
    assert group(flights[1], flights[:4], cpus=2) == (3, 4)
    assert group(flights[1], flights) == (3, 4, 5)


def test_it_takes_its_like_before_others(tmp_path):
    proposals = [{**small_spec().params, "dqn.dueling": dueling} for dueling in (True, False, True, False, True)]
    flights = [in_flight(tmp_path, number, params=params) for number, params in enumerate(proposals, start=1)]
    assert group(flights[0], flights, size=3) == (3, 5)
    assert group(flights[0], flights) == (2, 3, 5)


def test_none_waits_for_company_where_no_other_of_its_target_is_in_flight(flights, tmp_path):
    other = in_flight(tmp_path, 9, target="mage/combat_dqn")
    assert group(other, [running(flights[0]), *flights[1:], other]) == ()


def test_a_trial_that_waits_for_its_line_is_no_company_to_wait_for(flights):
    done = flights[1]
    done.fail(Reason.CRASHED, "")
    assert group(flights[2], [running(flights[0], ()), done, flights[2]], size=3) is None
    assert group(flights[2], [done, flights[2]], cpus=0, size=3) == ()


def test_alone_on_an_idle_machine_it_starts(flights):
    assert group(flights[0], flights[:1]) == ()


OTHERS = {
    "of another target": {"target": "mage/combat_dqn"},
    "of a kind that cannot be stacked": {"target": "aggressive/movement_ppo"},
    "of the user's own": {"kind": "module:Class"},
    "with several candidates, which are a batch already": {"candidates": ({}, {})},
    "that writes its figures as it trains": {"curves": True},
    "that is known to fail": {"problems": ("dqn.gamma is none of its parameters",)},
}


@pytest.mark.parametrize("what", OTHERS)
def test_it_does_not_take_a_trial_with_it(flights, tmp_path, what):
    other = in_flight(tmp_path, 9, **OTHERS[what])
    assert group(flights[0], [flights[0], other]) == ()
    assert group(other, [running(flights[0]), other], cpus=3) == ()


def launched(flight, group):
    """What a process may take that is started for the flight."""
    submitted = []
    flight.launch(SimpleNamespace(submit=submitted.append), at_once=4, group=group)
    flight.handle = "handle"
    return submitted[0].budget.wall_s


def ended(kind):
    return Exit(kind, 0, None, "", duration_s=400.0, peak_ram_mb=0)


def test_the_process_of_a_group_may_take_as_long_as_each_of_it_by_itself(flights):
    [flight, *_], one_s = flights, flights[0].spec.budget.wall_s
    assert launched(flight, (2, 3, 4)) == 4 * one_s
    flight.folder.write_group(())  # the trainings are over
    flight.landed(ended(ExitKind.STOPPED))
    assert launched(flight, ()) == one_s - 100.0


@pytest.mark.parametrize("kind", [ExitKind.CRASHED, ExitKind.WALL_TIME, ExitKind.OUT_OF_MEMORY, ExitKind.HUNG])
def test_what_ends_the_trainings_of_a_group_neither_ends_its_first_trial_nor_costs_it_time(flights, kind):
    [flight, *_], one_s = flights, flights[0].spec.budget.wall_s
    for _ in range(4):
        launched(flight, (2, 3, 4))
        flight.landed(ended(kind))
        flight.conclude()
    assert not flight.stage_done
    assert launched(flight, ()) == one_s


@pytest.mark.parametrize("done", ["built.json", "trained"])
def test_one_that_has_nothing_left_to_train_goes_on_at_once(flights, done):
    (flights[1].folder.path / done).touch()
    assert group(flights[0], flights) == (3, 4, 5)
    assert group(flights[1], [running(flights[0]), flights[1]]) == ()


@pytest.mark.parametrize(
    ("kind", "again"), [("stopped", True), ("disk_full", True), ("crashed", False), ("hung", False)]
)
def test_a_group_that_came_to_a_bad_end_does_not_come_together_again(flights, kind, again):
    flights[0].exits = [{"fact": "exit", "kind": kind, "shared": True, "group": [2, 3]}]
    assert group(flights[0], flights) == ((2, 3, 4) if again else ())
    assert group(flights[3], flights) == ((1, 2, 3) if again else (5,))


def test_the_supervisor_knows_which_model_types_can_be_stacked():
    found = {name for name in catalogue.CATALOGUE if isinstance(catalogue.model_type(name), Stacking)}
    assert found == set(OF_ONE_SHAPE)


def test_it_knows_what_trainings_of_one_batch_agree_in():
    derived = {"learns_from": "learning_starts"}
    named = {dqn_args.NAMES[derived.get(name, name)] for name in population.COMMON}
    assert set(OF_ONE_SHAPE["combat_dqn"]) == named
