"""What became of every line of the log, seventeen bytes each: that is what a database is compared with."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from optuna.trial import TrialState

from supervisor.contract import Json
from supervisor.errors import DamagedStateError
from supervisor.journal.log import decode_line
from supervisor.journal.log_files import LogFiles, settled
from supervisor.search.projected import WITHOUT_TRIAL, state_and_value

FIELDS = ("iteration", "target", "purpose", "status", "win_rate")

Outcome = tuple[int, TrialState, float | None]
"""Iteration, state and value of a trial."""


class Outcomes:
    """One target's lines in which a trial ran, in order of iteration."""

    def __init__(self) -> None:
        self._iterations = array("q")
        self._states = bytearray()
        self._values = array("d")  # NaN where there is none

    def add(self, outcome: Outcome) -> None:
        iteration, state, value = outcome
        self._iterations.append(iteration)
        self._states.append(state.value)
        self._values.append(math.nan if value is None else value)

    def __iter__(self) -> Iterator[Outcome]:
        for iteration, state, value in zip(self._iterations, self._states, self._values, strict=True):
            yield iteration, TrialState(state), None if math.isnan(value) else value

    def in_order(self) -> Outcomes:
        """Each iteration once, the last of several lines, as the log is read."""
        if all(before < after for before, after in zip(self._iterations, self._iterations[1:], strict=False)):
            return self
        found = {outcome[0]: outcome for outcome in self}
        ordered = Outcomes()
        for iteration in sorted(found):
            ordered.add(found[iteration])
        return ordered


@dataclass
class LogOutcomes:
    """`first` and `last` are the iterations of the log's first and last line; (1, 0) where it has none."""

    first: int = 1
    last: int = 0
    last_of: dict[str, int] = field(default_factory=dict)  # by target, of lines in which nothing ran too
    by_target: dict[str, Outcomes] = field(default_factory=dict)

    def _take(self, line: dict[str, Json]) -> None:
        iteration, target, purpose, status, win_rate = (line[name] for name in FIELDS)
        if not isinstance(iteration, int) or not isinstance(target, str):
            raise TypeError
        self.first = min(self.first, iteration) if self.last else iteration
        self.last = max(self.last, iteration)
        self.last_of[target] = max(iteration, self.last_of.get(target, 0))
        outcomes = self.by_target.setdefault(target, Outcomes())
        if purpose not in WITHOUT_TRIAL:
            outcomes.add((iteration, *state_and_value(str(status), win_rate)))

    @classmethod
    def read(cls, run_dir: Path) -> LogOutcomes:
        """Raises DamagedStateError naming file and line where one is none of this program."""
        return settled(run_dir, cls._read)

    @classmethod
    def _read(cls, paths: Sequence[Path]) -> LogOutcomes:
        found = cls()
        for place in LogFiles(paths).lines():
            line = decode_line(*place)
            try:
                found._take(line)
            except (KeyError, TypeError) as error:
                raise DamagedStateError(f"{place[0]}:{place[1]}: not a line of this program") from error
        found.by_target = {target: outcomes.in_order() for target, outcomes in found.by_target.items()}
        return found
