"""What the running supervisor remembers: the last W states, the latest lines, and what a lost log would need again.

It stays as small as it is however long the run: what is needed of older lines is read from the log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from supervisor.history import Daily, History, Reader, Usage
from supervisor.journal.checkpoint import Snapshot, snapshot_of
from supervisor.journal.log_scan import records_with
from supervisor.journal.recovery import LATEST_LINES, Recovered
from supervisor.record import Record
from supervisor.search.observation import Observation
from supervisor.state import State, fold


def _no_log(needle: bytes) -> Iterable[Record]:
    return ()


@dataclass
class Memory:
    """`states` are the states after the last W commits, newest last; `tail` the records between the first and last."""

    window: int
    states: list[State]
    tail: list[Record]
    read: Reader = _no_log
    latest: deque[Record] = field(default_factory=lambda: deque(maxlen=LATEST_LINES))  # lines, whatever the window
    since_snapshot: list[Record] = field(default_factory=list)
    snapshot_due: bool = False  # what is newer than the snapshot is not held here: take one before going on

    def __post_init__(self) -> None:
        self._history = History(self.read)
        self._daily = Daily(self.read)

    @classmethod
    def of(cls, recovered: Recovered, window: int) -> Memory:
        return cls(
            window,
            list(recovered.states),
            list(recovered.tail),
            partial(records_with, recovered.run_dir),
            deque(recovered.records, maxlen=LATEST_LINES),
            list(recovered.since_snapshot),
            recovered.snapshot_due,
        )

    @property
    def state(self) -> State:
        return self.states[-1]

    def state_for(self, iteration: int) -> State:
        """The state that proposal `iteration` sees: after line iteration - W, or the very first."""
        seen = max(0, iteration - self.window)
        back = self.state.iteration - seen
        return self.states[max(0, len(self.states) - 1 - back)]

    def history_for(self, iteration: int, target: str, limit: int | None = None) -> Sequence[Observation]:
        """The target's lines that proposal `iteration` sees, as far as the log still holds them; at least the newest
        `limit` of them, None for all."""
        lines = self._history.of(target, None if limit is None else limit + self.window, self.since_snapshot)
        end = len(lines)
        while end > 0 and lines[end - 1].iteration > iteration - self.window:
            end -= 1
        return lines[:end]

    def ended_on(self, day: str) -> Sequence[Usage]:
        """The lines that ended on this day (2000-01-01), as far as the log still holds them."""
        return self._daily.on(day, self.since_snapshot)

    def unseen_by(self, iteration: int) -> list[Record]:
        """Lines that are committed and that proposal `iteration` must not see the outcome of."""
        seen = iteration - self.window
        return [record for record in self.tail if record.iteration > seen]

    def add(self, record: Record) -> None:
        self.states.append(fold(self.state, record))
        self.tail.append(record)
        self.latest.append(record)
        self._history.add(record)
        self._daily.add(record)
        self.since_snapshot.append(record)
        del self.states[: -self.window]
        del self.tail[: len(self.tail) - (len(self.states) - 1)]

    def log_was_rewritten(self) -> None:
        """The history of model-based samplers is what it still holds."""
        self._history.forget()
        self._daily.forget()

    def snapshot(self, run_id: str, seed: int, versions: dict[str, str]) -> Snapshot:
        return snapshot_of(run_id, seed, self.states[0], tuple(self.tail), versions)
