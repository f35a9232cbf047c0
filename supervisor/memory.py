"""What the running supervisor remembers: the last W states, the log's lines, and what a lost log would need again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from supervisor.journal.checkpoint import Snapshot, snapshot_of
from supervisor.journal.recovery import Recovered
from supervisor.record import Record
from supervisor.state import State, fold


@dataclass
class Memory:
    """`states` are the states after the last W commits, newest last; `tail` the records between the first and last."""

    window: int
    states: list[State]
    tail: list[Record]
    records: list[Record] = field(default_factory=list)  # all that the log holds, in order
    since_snapshot: list[Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._by_target: defaultdict[str, list[Record]] = defaultdict(list)
        self._sort()

    @classmethod
    def of(cls, recovered: Recovered, window: int) -> Memory:
        return cls(
            window,
            list(recovered.states),
            list(recovered.tail),
            list(recovered.records),
            list(recovered.since_snapshot),
        )

    @property
    def state(self) -> State:
        return self.states[-1]

    def state_for(self, iteration: int) -> State:
        """The state that proposal `iteration` sees: after line iteration - W, or the very first."""
        seen = max(0, iteration - self.window)
        back = self.state.iteration - seen
        return self.states[max(0, len(self.states) - 1 - back)]

    def history_for(self, iteration: int, target: str) -> list[Record]:
        """The target's lines that proposal `iteration` sees, as far as the log still holds them."""
        lines = self._by_target[target]
        end = len(lines)
        while end > 0 and lines[end - 1].iteration > iteration - self.window:
            end -= 1
        return lines[:end]

    def unseen_by(self, iteration: int) -> list[Record]:
        """Lines that are committed and that proposal `iteration` must not see the outcome of."""
        seen = iteration - self.window
        return [record for record in self.tail if record.iteration > seen]

    def add(self, record: Record) -> None:
        self.states.append(fold(self.state, record))
        self.tail.append(record)
        self.records.append(record)
        self._by_target[record.target].append(record)
        self.since_snapshot.append(record)
        del self.states[: -self.window]
        del self.tail[: len(self.tail) - (len(self.states) - 1)]

    def replace_records(self, records: Iterable[Record]) -> None:
        """The log was rewritten: the history of model-based samplers is what it still holds."""
        self.records = list(records)
        self._sort()

    def _sort(self) -> None:
        self._by_target = defaultdict(list)
        for record in self.records:
            self._by_target[record.target].append(record)

    def snapshot(self, run_id: str, seed: int, versions: dict[str, str]) -> Snapshot:
        return snapshot_of(run_id, seed, self.states[0], tuple(self.tail), versions)
