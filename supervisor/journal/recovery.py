"""From what is on disk to the state of the run: snapshot plus the lines after it, or the whole log, or what is left."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from supervisor.contract import Version, as_json
from supervisor.errors import DamagedStateError
from supervisor.execution.attempts import LONGEST_LOOK_BACK
from supervisor.journal import checkpoint
from supervisor.journal.checkpoint import Snapshot
from supervisor.journal.log import LOG_NAME, chain_of, cut_torn_tail, read_latest, version_records
from supervisor.journal.log_scan import Scan, scan_log, walk_log
from supervisor.journal.trial_folder import all_folders
from supervisor.record import FIRST_CHAIN, Record
from supervisor.state import State, TargetState, fold

LATEST_LINES = LONGEST_LOOK_BACK  # that are kept decoded, whatever the snapshot covers
MOST_HELD = 1000  # lines behind a snapshot that are held in memory against their loss


@dataclass(frozen=True)
class Note:
    """Something recovery found that the operator should know; becomes an event."""

    event: str
    reason: str


@dataclass(frozen=True)
class Recovered:
    """`states` are the last W states, newest last; `records` the latest lines that the log still holds, in order."""

    run_dir: Path
    states: tuple[State, ...]
    tail: tuple[Record, ...]  # the records between states[0] and states[-1]
    records: tuple[Record, ...]
    since_snapshot: tuple[Record, ...]  # committed after the newest snapshot: appended again if somebody removes them
    notes: tuple[Note, ...]
    snapshot_due: bool = False  # too many lines are newer than the newest snapshot to hold them
    versions: Mapping[str, str] = field(default_factory=dict)  # of program and libraries when the snapshot was taken

    @property
    def state(self) -> State:
        return self.states[-1]


class _Walk:
    """The fold over lines that come one by one; keeps no more of them than is asked for later."""

    def __init__(self, base: State, window: int, held_behind: int) -> None:
        self.states = deque([base], maxlen=window)
        self._latest = deque[Record](maxlen=window)
        self._held_behind = held_behind
        self.held: list[Record] = []
        self.too_many = False

    def over(self, records: Iterable[Record]) -> _Walk:
        for record in records:
            self.states.append(fold(self.states[-1], record))
            self._latest.append(record)
            if record.iteration > self._held_behind and not self.too_many:
                self.held.append(record)
                self.too_many = len(self.held) > MOST_HELD
        return self

    @property
    def tail(self) -> tuple[Record, ...]:
        return tuple(record for record in self._latest if record.iteration > self.states[0].iteration)


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
    found = examine(run_dir, run_id, window)
    return replace(found, notes=(*notes, *found.notes))


def examine(run_dir: Path, run_id: str, window: int) -> Recovered:
    """What `recover` would find, for somebody who only looks: no lock is needed, nothing is written.

    Raises DamagedStateError as that does.
    """
    notes: list[Note] = []
    snapshot, problems = checkpoint.load(run_dir)
    log = scan_log(run_dir, snapshot.iteration if snapshot else None, LATEST_LINES)
    notes += _oddities(log)
    notes += [Note("checkpoint_damaged", problem) for problem in problems]
    _same_run(run_dir, run_id, snapshot, log.run_ids)
    behind = _behind(snapshot, log.records)
    if snapshot is not None and behind is not None:
        base = snapshot.base
        walk = _Walk(base, window, snapshot.iteration)
        walk.over(_unbroken(run_dir, base, (*snapshot.tail, *behind)))
    else:
        base, lost = _without_snapshot(run_dir, log)
        _refuse_unreadable(log, lost)
        if lost:
            notes.append(Note("history_lost", _history_lost_reason(base.iteration)))
        covered = snapshot.iteration if snapshot else 0
        walk = walk_log(run_dir, lambda records: _Walk(base, window, covered).over(_unbroken(run_dir, base, records)))
    older = [iteration for iteration in log.breaks if iteration <= base.iteration]
    if older:
        notes.append(Note("chain_broken", f"lines of iterations {older} were changed by somebody; the snapshot stands"))
    return Recovered(
        run_dir=run_dir,
        states=tuple(walk.states),
        tail=walk.tail,
        records=log.records,
        since_snapshot=() if walk.too_many else tuple(walk.held),
        notes=tuple(notes),
        snapshot_due=walk.too_many,
        versions=snapshot.versions if snapshot else {},
    )


def _oddities(log: Scan) -> list[Note]:
    notes = [
        Note("rotation_unreadable", f"{path} cannot be unpacked and is treated as not there") for path in log.unreadable
    ]
    if log.torn_first_line:
        reason = f"{LOG_NAME} was shortened inside its first line, which is left out; the next one is taken on trust"
        notes.append(Note("torn_first_line", reason))
    return notes


def _refuse_unreadable(log: Scan, lost: bool) -> None:
    """Raises DamagedStateError where lines are missing that an unreadable rotation must have held."""
    if not log.unreadable or (log.count and not lost):
        return
    files = ", ".join(map(str, log.unreadable))
    raise DamagedStateError(
        f"{files}: cannot be unpacked, and neither snapshot nor log cover the lines it held. Put an intact copy back,"
        " or move it out of the folder to go on without its lines"
    )


def _behind(snapshot: Snapshot | None, records: Iterable[Record]) -> tuple[Record, ...] | None:
    """The lines behind the snapshot; None where there is no snapshot, or where some of them are missing."""
    if snapshot is None:
        return None
    behind = tuple(record for record in records if record.iteration > snapshot.iteration)
    return behind if not behind or behind[0].iteration == snapshot.iteration + 1 else None


def _without_snapshot(run_dir: Path, log: Scan) -> tuple[State, bool]:
    """What to start from where the log alone is left; whether its beginning, and with it history, is lost."""
    if log.first == 1 or (log.first is None and _last_committed(run_dir) == 0):
        return State(), False
    return State(iteration=log.first - 1 if log.first is not None else _last_committed(run_dir)), True


def _last_committed(run_dir: Path) -> int:
    """The last iteration whose trial folder says that its line was written, whatever became of the line."""
    return max((folder.iteration for folder in all_folders(run_dir) if folder.was_committed), default=0)


def _unbroken(run_dir: Path, base: State, records: Iterable[Record]) -> Iterator[Record]:
    """The records, each after the one before it. Raises DamagedStateError where one does not follow."""
    previous_chain, previous_iteration = base.chain, base.iteration
    for record in records:
        expected = chain_of(previous_chain, as_json(replace(record)))
        trusted = previous_chain == FIRST_CHAIN and previous_iteration != 0
        if record.iteration != previous_iteration + 1 or (record.chain != expected and not trusted):
            raise DamagedStateError(
                f"{run_dir / LOG_NAME}: the line of iteration {record.iteration} does not follow from iteration"
                f" {previous_iteration}: lines between were removed or this one was changed. Put the original lines"
                f" back, or remove all lines from iteration {previous_iteration + 1} on: they are run again"
            )
        previous_chain, previous_iteration = record.chain, record.iteration
        yield record


def _same_run(run_dir: Path, run_id: str, snapshot: Snapshot | None, of_lines: Iterable[str]) -> None:
    others = {*of_lines, *([snapshot.run_id] if snapshot else [])} - {run_id}
    if others:
        raise DamagedStateError(
            f"{run_dir / LOG_NAME} or a checkpoint beside it belong to {sorted(others)}, and this is run {run_id}; give"
            " each run a folder of its own (--run-dir), restore from a copy what was changed, or put run.json back if"
            " it was lost: settings have changed since then"
        )


def _history_lost_reason(before: int) -> str:
    return (
        f"no intact checkpoint, and no line up to iteration {before}: going on with the incumbents that later lines and"
        " active.json name; earlier search state is gone"
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
    records = read_latest(run_dir, snapshot.iteration, recent) if snapshot else ()
    behind = _behind(snapshot, records)
    if snapshot is None or behind is None:  # or lines behind it are missing
        log = scan_log(run_dir, None, recent)
        base, _ = _without_snapshot(run_dir, log)
        walk = walk_log(run_dir, lambda lines: _Walk(base, 1, 0).over(lines))
        records, run_ids = log.records, log.run_ids
    else:
        walk = _Walk(snapshot.base, 1, 0).over((*snapshot.tail, *behind))
        run_ids = frozenset(record.run_id for record in records)
    _same_run(run_dir, run_id, snapshot, run_ids)
    return walk.states[-1], records


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
    """The incumbent of every target as snapshot and log have it, whatever was projected from them."""
    targets = known_targets(run_dir)
    return {key: target.incumbent for key, target in targets.items() if target.incumbent is not None}


def known_targets(run_dir: Path) -> Mapping[str, TargetState]:
    """Of every target the incumbent, the versions and those rolled back, as snapshot and log have them.

    Only lines that make a version, or go back from one, can change them, so no other line is decoded or counted.
    """
    snapshot, _ = checkpoint.load(run_dir)
    state = snapshot.state() if snapshot is not None else State()
    for record in sorted(version_records(run_dir), key=lambda record: record.iteration):
        if record.iteration > state.iteration:
            state = fold(state, record)
    return state.targets
