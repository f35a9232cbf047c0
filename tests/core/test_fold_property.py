"""Wherever the cut: a snapshot and the lines after it give the fold of the whole log, and the same next proposals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.config.settings import Settings
from supervisor.contract import Reason, TrialSpec
from supervisor.journal import checkpoint, requests
from supervisor.journal.checkpoint import Snapshot
from supervisor.journal.log import LOG_NAME, encode, read_log
from supervisor.journal.recovery import Recovered, recover
from supervisor.journal.requests import Action, Request
from supervisor.memory import Memory
from supervisor.planning import baseline_proposal, next_target, request_for, spec_for
from supervisor.record import Record
from supervisor.search.policy import Proposal, Proposer
from supervisor.state import State, fold_all
from tests.support.small_run import TARGETS, VERSIONS, SmallRun, definition

WINDOWS = (1, 4)
SEGMENTS = (("spsa", 24), ("cmaes", 42), ("nsga2", 48), ("tpe", 54), ("spsa", 60))  # sampler, up to which iteration
LENGTH = SEGMENTS[-1][1]
ASKED = {  # before the segment of this number
    1: Request("rollback-1", 1, Action.ROLLBACK, "mage/noop"),
    2: Request("enqueue-1", 2, Action.ENQUEUE, "aggressive/noop", params={"skill": 0.95}),
}
SAMPLERS = ("spsa", "perturb", "tpe", "cmaes", "random", "qmc", "nsga2")
DEFINITIONS = {key: definition(key) for key in TARGETS}


@dataclass(frozen=True)
class Undisturbed:
    """A run's lines, and what the supervisor remembered after each of them, from 0."""

    window: int
    records: tuple[Record, ...]
    memories: tuple[Memory, ...]
    snapshots: tuple[Snapshot, ...]


def remembered(window: int, records: tuple[Record, ...]) -> Iterator[tuple[Memory, Snapshot]]:
    memory = Memory(window, [State()], [])
    yield Memory(window, [State()], []), memory.snapshot("run", 0, {})
    for number, record in enumerate(records, start=1):
        memory.add(record)
        log = records[:number]
        copy = Memory(window, list(memory.states), list(memory.tail), lambda needle, log=log: log)
        yield copy, memory.snapshot("run", 0, {})


@pytest.fixture(scope="module", params=WINDOWS)
def undisturbed(request, tmp_path_factory) -> Undisturbed:
    run = SmallRun(tmp_path_factory.mktemp("undisturbed") / "run", window=request.param)
    for number, (sampler, iterations) in enumerate(SEGMENTS):
        if number in ASKED:
            requests.drop(run.run_dir, ASKED[number])
        run.settings = {"search": {"sampler": sampler}}
        run.run(iterations, slots=min(2, request.param))
    records = read_log(run.run_dir).records
    memories, snapshots = zip(*remembered(request.param, records), strict=True)
    return Undisturbed(request.param, records, memories, snapshots)


def recovered(tmp_path_factory, known: Undisturbed, length: int, cut: int, from_line: int = 1) -> Recovered:
    """From a folder with the snapshot after line `cut` and the log's lines `from_line` to `length`."""
    run_dir = tmp_path_factory.mktemp("run")
    checkpoint.save(run_dir, known.snapshots[cut])
    (run_dir / LOG_NAME).write_bytes(b"".join(encode(record) for record in known.records[from_line - 1 : length]))
    return recover(run_dir, "run", known.window)


def proposals(memory: Memory, proposer: Proposer, sampler: str) -> list[Proposal]:
    """The next W proposals, each made while those before it are in flight."""
    wished = Settings.model_validate({"search": {"sampler": sampler}})
    found: list[Proposal] = []
    flying: list[TrialSpec] = []
    for iteration in range(memory.state.iteration + 1, memory.state.iteration + memory.window + 1):
        known = DEFINITIONS[next_target(memory.state, flying, DEFINITIONS)]
        target = memory.state_for(iteration).target(known.key)
        unseen = [*memory.unseen_by(iteration), *flying]
        if target.iterations == 0 and not any(source.target == known.key for source in unseen):
            proposal = baseline_proposal(known, wished)
        else:
            history = memory.history_for(iteration, known.key)
            proposal = proposer.propose(request_for(iteration, known, target, history, unseen, wished))
        flying.append(spec_for("run", iteration, known, proposal, target, wished, [], VERSIONS))
        found.append(proposal)
    return found


@pytest.fixture(scope="module")
def proposed(undisturbed) -> dict[str, list[list[Proposal]]]:
    """By sampler: what one proposer, that lived through the whole run, proposed after each line."""
    found = {}
    for sampler in SAMPLERS:
        proposer = Proposer()
        found[sampler] = [proposals(memory, proposer, sampler) for memory in undisturbed.memories]
    return found


def cuts() -> st.SearchStrategy[tuple[int, int]]:
    """(lines there are, lines that the snapshot covers)."""
    return st.integers(0, LENGTH).flatmap(lambda length: st.tuples(st.just(length), st.integers(0, length)))


def test_the_run_holds_what_a_fold_can_stumble_over(undisturbed):
    records = undisturbed.records
    assert len(records) == LENGTH
    assert any(record.is_promotion_by_test for record in records)
    assert any(record.purpose == "confirmation" for record in records)
    assert any(record.decision.reason is Reason.MANUAL_ROLLBACK for record in records)
    assert any(record.purpose == "enqueued" for record in records)
    assert len({record.level for record in records} | {record.sampler for record in records}) > len(SEGMENTS)


@settings(max_examples=40, deadline=None)
@given(where=cuts())
def test_snapshot_and_tail_give_the_fold_of_the_whole_log(tmp_path_factory, undisturbed, where):
    length, cut = where
    found = recovered(tmp_path_factory, undisturbed, length, cut)
    assert found.state == fold_all(State(), undisturbed.records[:length])
    assert found.records == undisturbed.records[:length]


@settings(max_examples=40, deadline=None)
@given(where=cuts())
def test_so_they_do_where_only_the_lines_behind_the_snapshot_are_left(tmp_path_factory, undisturbed, where):
    length, cut = where
    found = recovered(tmp_path_factory, undisturbed, length, cut, from_line=cut + 1)
    memory, before = Memory.of(found, undisturbed.window), undisturbed.memories[length]
    for iteration in range(length + 1, length + undisturbed.window + 1):
        assert memory.state_for(iteration) == before.state_for(iteration)
        assert memory.unseen_by(iteration) == before.unseen_by(iteration)


@settings(max_examples=20, deadline=None)
@given(where=cuts())
def test_every_sampler_proposes_what_it_would_have_undisturbed(tmp_path_factory, undisturbed, proposed, where):
    length, cut = where
    memory = Memory.of(recovered(tmp_path_factory, undisturbed, length, cut), undisturbed.window)
    for sampler in SAMPLERS:
        assert proposals(memory, Proposer(), sampler) == proposed[sampler][length], sampler


@pytest.mark.slow
def test_gp_proposes_what_it_would_have_undisturbed(tmp_path_factory, undisturbed):
    """Its process takes a second to start."""
    lived, anew = Proposer(), Proposer()
    try:
        for length in (LENGTH - 1, LENGTH):
            memory = Memory.of(recovered(tmp_path_factory, undisturbed, length, LENGTH // 2), undisturbed.window)
            expected = proposals(undisturbed.memories[length], lived, "gp")
        assert proposals(memory, anew, "gp") == expected
    finally:
        lived.close()
        anew.close()
