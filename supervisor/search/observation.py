"""A finished iteration as far as samplers learn from it: a few hundred bytes, where its line takes thousands."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from supervisor.contract import Json, Params, Scalar, Status
from supervisor.record import Record
from supervisor.search.fold import DELTA, WIN_RATE, value_of

GENERATION_KEY = "generation"  # in a line's `search`, of the samplers that draw in generations


@dataclass(frozen=True, slots=True)
class Observation:
    """Its values under both objectives; None where it has none."""

    iteration: int
    trial: int  # number of the target's line, from 0
    sampler: str
    status: Status
    win_rate: float | None
    delta: float | None
    generation: Json
    names: tuple[str, ...]
    values: tuple[Scalar, ...]

    @classmethod
    def of(cls, record: Record) -> Observation:
        return cls(
            record.iteration,
            record.trial,
            record.sampler,
            record.status,
            value_of(record, WIN_RATE),
            value_of(record, DELTA),
            record.search.get(GENERATION_KEY),
            _shared(tuple(record.params)),
            tuple(record.params.values()),
        )

    @property
    def params(self) -> Params:
        return dict(zip(self.names, self.values, strict=True))

    def value(self, objective: str) -> float | None:
        return self.delta if objective == DELTA else self.win_rate


@lru_cache(maxsize=256)
def _shared(names: tuple[str, ...]) -> tuple[str, ...]:
    """The first tuple that was equal: the lines of a target share theirs."""
    return names
