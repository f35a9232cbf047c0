"""From what is on disk to the state of the run: snapshot plus the lines after it, or the whole log, or what is left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from supervisor.contract import Version, as_json
from supervisor.errors import DamagedStateError
from supervisor.journal import checkpoint
from supervisor.journal.checkpoint import Snapshot
from supervisor.journal.log import LOG_NAME, LogLines, chain_of, cut_torn_tail, read_latest, read_log, version_records
from supervisor.record import FIRST_CHAIN, Record
from supervisor.state import State, TargetState, fold, fold_all


@dataclass(frozen=True)
class Note:
    """Something recovery found that the operator should know; becomes an event."""

    event: str
    reason: str


@dataclass(frozen=True)
class Recovered:
    """`states` are the last W states, newest last; `records` all lines that the log still holds, in order."""

    states: tuple[State, ...]
    tail: tuple[Record, ...]  # the records between states[0] and states[-1]
    records: tuple[Record, ...]
    since_snapshot: tuple[Record, ...]  # committed after the newest snapshot: appended again if somebody removes them
    notes: tuple[Note, ...]

    @property
    def state(self) -> State:
        return self.states[-1]


def recover(run_dir: Path, run_id: str, window: int) -> Recovered:
    """The state of the run folder. Cuts a torn last log line off; writes nothing else.

    Raises DamagedStateError where lines that decide the state were changed or are missing.
    """
    notes: list[Note] = []
    cut = cut_torn_tail(run_dir)
    if cut:
        notes.append(
            Note("torn_line", f"{LOG_NAME} ended in an unfinished line of {cut} bytes; its iteration runs again")
        )
    log = read_log(run_dir)
    notes += _oddities(log)
    snapshot, problems = checkpoint.load(run_dir)
    notes += [Note("checkpoint_damaged", problem) for problem in problems]
    _same_run(run_dir, run_id, snapshot, log.records)
    start = _start(snapshot, log.records)
    _refuse_unreadable(log, snapshot, start)
    if start is None:
        base, tail = _history_lost(log.records)
        notes.append(Note("history_lost", _history_lost_reason(log.records)))
    else:
        base, tail = start
    _refuse_breaks(run_dir, base, tail)
    older = [iteration for iteration in log.breaks if iteration <= base.iteration]
    if older:
        notes.append(Note("chain_broken", f"lines of iterations {older} were changed by somebody; the snapshot stands"))
    states = [base]
    for record in tail:
        states.append(fold(states[-1], record))
    kept = states[-window:]
    snapshot_iteration = snapshot.iteration if snapshot else 0
    return Recovered(
        states=tuple(kept),
        tail=tuple(record for record in tail if record.iteration > kept[0].iteration),
        records=log.records,
        since_snapshot=tuple(record for record in tail if record.iteration > snapshot_iteration),
        notes=tuple(notes),
    )


def _oddities(log: LogLines) -> list[Note]:
    notes = [
        Note("rotation_unreadable", f"{path} cannot be unpacked and is treated as not there") for path in log.unreadable
    ]
    if log.torn_first_line:
        reason = f"{LOG_NAME} was shortened inside its first line, which is left out; the next one is taken on trust"
        notes.append(Note("torn_first_line", reason))
    return notes


def _refuse_unreadable(
    log: LogLines, snapshot: Snapshot | None, start: tuple[State, tuple[Record, ...]] | None
) -> None:
    """Raises DamagedStateError where lines are missing that an unreadable rotation must have held."""
    if not log.unreadable or (start is not None and (snapshot is not None or log.records)):
        return
    files = ", ".join(map(str, log.unreadable))
    raise DamagedStateError(
        f"{files}: cannot be unpacked, and neither snapshot nor log cover the lines it held. Put an intact copy back,"
        " or move it out of the folder to go on without its lines"
    )


def _start(snapshot: Snapshot | None, records: tuple[Record, ...]) -> tuple[State, tuple[Record, ...]] | None:
    """A base state and the contiguous records after it; None where neither snapshot nor whole log is left."""
    if snapshot is not None:
        after = tuple(record for record in records if record.iteration > snapshot.iteration)
        if not after or after[0].iteration == snapshot.iteration + 1:
            return snapshot.base, (*snapshot.tail, *after)
    if not records or records[0].iteration == 1:
        return State(), records
    return None


def _refuse_breaks(run_dir: Path, base: State, tail: Iterable[Record]) -> None:
    previous_chain, previous_iteration = base.chain, base.iteration
    for record in tail:
        expected = chain_of(previous_chain, as_json(replace(record)))
        trusted = previous_chain == FIRST_CHAIN and previous_iteration != 0
        if record.iteration != previous_iteration + 1 or (record.chain != expected and not trusted):
            raise DamagedStateError(
                f"{run_dir / LOG_NAME}: the line of iteration {record.iteration} does not follow from iteration"
                f" {previous_iteration}: lines between were removed or this one was changed. Put the original lines"
                f" back, or remove all lines from iteration {previous_iteration + 1} on: they are run again"
            )
        previous_chain, previous_iteration = record.chain, record.iteration


def _same_run(run_dir: Path, run_id: str, snapshot: Snapshot | None, records: tuple[Record, ...]) -> None:
    found = {record.run_id for record in records} | ({snapshot.run_id} if snapshot else set())
    if found - {run_id}:
        raise DamagedStateError(
            f"{run_dir}: run.json says run {run_id}, but log or checkpoint belong to {sorted(found - {run_id})};"
            " give each run a folder of its own (--run-dir)"
        )


def _history_lost(records: tuple[Record, ...]) -> tuple[State, tuple[Record, ...]]:
    """Both snapshots are gone and the log starts late: go on from its first line, on trust."""
    return State(iteration=records[0].iteration - 1), records


def _history_lost_reason(records: tuple[Record, ...]) -> str:
    return (
        f"no intact checkpoint, and the log starts at iteration {records[0].iteration}: going on with the incumbents"
        " that its lines and active.json name; earlier search state is gone"
    )


def adopt(state: State, incumbents: Mapping[str, Version]) -> State:
    """After lost history: targets without an incumbent take the one that production serves."""
    targets = dict(state.targets)
    for key, version in incumbents.items():
        known = targets.get(key, TargetState())
        if known.incumbent is None:
            versions = {**known.versions, version.name: version}
            targets[key] = replace(known, incumbent=version, versions=versions)
    return replace(state, targets=targets)


def recover_reading(run_dir: Path, run_id: str, recent: int) -> tuple[State, tuple[Record, ...]]:
    """State and at least the last `recent` lines for somebody who only looks: no lock is taken, nothing is written.

    Lines that the snapshot covers are not decoded but for the recent ones.
    """
    snapshot, _ = checkpoint.load(run_dir)
    start = None
    if snapshot is not None:
        records = read_latest(run_dir, snapshot.iteration, recent)
        start = _start(snapshot, records)
    if start is None:  # no snapshot, or lines behind it are missing
        records = read_log(run_dir).records
        start = _start(None, records) or _history_lost(records)
    _same_run(run_dir, run_id, snapshot, records)
    base, tail = start
    return fold_all(base, tail), records


def known_versions(run_dir: Path) -> dict[str, dict[str, Version]]:
    """Every version that log or snapshot know, by target and name; for readers such as the server.

    Reads without the lock and never writes; an unreadable snapshot counts as absent.
    """
    snapshot, _ = checkpoint.load(run_dir)
    found: dict[str, dict[str, Version]] = {}
    if snapshot is not None:
        for key, target in snapshot.state().targets.items():
            found[key] = dict(target.versions)
    for record in version_records(run_dir):
        made = record.made_version
        if made is not None:
            found.setdefault(record.target, {}).setdefault(made.name, made)
    return found


def known_incumbents(run_dir: Path) -> dict[str, Version]:
    """The incumbent of every target as snapshot and log have it, whatever was projected from them.

    Only lines that make a version, or go back to one, can change it, so no other line is decoded.
    """
    snapshot, _ = checkpoint.load(run_dir)
    state = snapshot.state() if snapshot is not None else State()
    for record in sorted(version_records(run_dir), key=lambda record: record.iteration):
        if record.iteration > state.iteration:
            state = fold(state, record)
    return {key: target.incumbent for key, target in state.targets.items() if target.incumbent is not None}
