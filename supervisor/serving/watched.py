"""What is noted of a new version's runs while it is watched, and the version before it that stands in where it fails.

A request that both versions fail has itself to blame. So has one with numbers so large that a sound network may
overflow: whoever may ask for actions could otherwise have any version taken out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from supervisor.serving.batch_run import run_batch
from supervisor.serving.errors import ApiError
from supervisor.serving.served import Served
from supervisor.serving.session import Arrays

OF_THE_MODEL = frozenset({422, 500})  # what `batch_run` answers where the model failed
LARGEST_INPUT = 100.0  # states are normalised to about 1
MOST_ROWS_TIMED = 128  # the largest batch whose latency a candidate is examined for
RUNS_LOOKED_AT = 200


class Watched:
    """Of one version, while its window is open. `faulted` is told, on the event loop, what happened."""

    def __init__(self, stand_in: Served | None, faulted: Callable[[str], None]) -> None:
        self._stand_in, self._faulted = stand_in, faulted
        self.run_s: deque[float] = deque(maxlen=RUNS_LOOKED_AT)
        self.last_inputs: Arrays | None = None

    def ran(self, inputs: Arrays, took_s: float) -> None:
        """A batch was run. Called in any thread."""
        if len(next(iter(inputs.values()))) <= MOST_ROWS_TIMED:
            self.run_s.append(took_s)
            self.last_inputs = inputs

    def may_stand_in(self, error: ApiError) -> Served | None:
        """Who could answer what this version failed."""
        return self._stand_in if error.status in OF_THE_MODEL else None

    def instead(self, served: Served, inputs: Arrays, error: ApiError) -> tuple[Served, Arrays | ApiError]:
        """Who answers where this version failed a request, and how. May run in any thread."""
        stand_in = self._stand_in
        assert stand_in is not None
        (result,) = run_batch(stand_in, [stand_in.session.fitted(inputs)])
        return (served, error) if isinstance(result, ApiError) else (stand_in, result)

    def stood_in(self, inputs: Arrays, error: ApiError) -> None:
        """The version before has answered what this one failed. On the event loop."""
        if all(_is_usual(value) for value in inputs.values()):
            self._faulted(error.message)

    def p95_s(self) -> float | None:
        """Of the last runs; None before there are enough of them."""
        return float(np.percentile(list(self.run_s), 95)) if len(self.run_s) == RUNS_LOOKED_AT else None


def _is_usual(value: np.ndarray[Any, np.dtype[Any]]) -> bool:
    return bool(np.abs(value, dtype=np.float32).max(initial=0.0) <= LARGEST_INPUT)
