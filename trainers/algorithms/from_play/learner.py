"""A training from recorded play: what is read when, what is learnt from, what is kept apart, how it is measured.

Nothing is tried out: it stands or falls with what was played. What a gradient step does is a `Method`'s. Random numbers
come from (seed, gradient step), so a training restored from `state()` goes on bit for bit; one torch thread is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np

from supervisor.experience.rows import Experiences
from supervisor.experience.store import BATCH_ROWS
from trainers.algorithms.from_play.holdout import held_out
from trainers.algorithms.from_play.memory import Bools, Drawn, Floats, PlayMemory
from trainers.algorithms.from_play.plan import Pages, Plan
from trainers.algorithms.from_play.reading import Reading
from trainers.learner import Exported, State

AVERAGED_GRADIENT_STEPS = 200.0
"""Running means forget at this pace."""

FIRST_BETA = 0.4
"""How far it is corrected at first that some rows are drawn more often than others; wholly at the end."""

WHOLE_EPISODE = 2**31
"""As n of an n-step return: to the end of what is known of the episode."""


@dataclass(frozen=True)
class Judged:
    """What a model makes of some recorded steps."""

    errors: Floats  # (rows,): by how much its value of what was done is off, by its own value of where that led
    values: Floats  # (rows,): of what was done
    agrees: Bools  # (rows,): it would do the same


class Method(Protocol):
    """An algorithm's part."""

    inputs: int  # numbers seen
    numbers: int  # of a continuous action; 0 where it is one of a few
    n_step: int
    gamma: float

    def improve(
        self, drawn: Drawn, parts: int, share: float, rng: np.random.Generator
    ) -> tuple[Floats, Mapping[str, float]]:
        """One gradient step, its rows worked off in so many parts, after `share` in [0, 1] of the training: by how much
        each row's value was off, and figures of which running means are kept. Raises TrialError when it diverges."""

    def judged(self, drawn: Drawn) -> tuple[Judged, Judged]:
        """What the weights that the training began with make of some steps, and what those of now do."""

    def final(self) -> State: ...

    def state(self) -> State: ...

    def load_state(self, saved: Mapping[str, Any]) -> None: ...

    def exported(self) -> Exported: ...


class FromPlay:
    """A Learner. Its steps are gradient steps."""

    def __init__(self, method: Method, plan: Plan, seed: int, pages: Pages) -> None:
        self.method, self.plan, self.seed = method, plan, seed
        sizes = method.inputs, method.numbers, method.gamma
        self.memory = PlayMemory(plan.memory_rows, *sizes, plan.priority_alpha)
        self.holdout = PlayMemory(plan.holdout_rows, *sizes)
        self.reading = Reading(pages, plan.since)
        self.rows_read = self.gradient_steps = 0
        self.means: dict[str, float] = {}
        self.looked: dict[str, float] = {}

    @property
    def new_rows(self) -> int:
        return max(0, self.rows_read - self.plan.old_rows)

    @property
    def due(self) -> int:
        """Gradient steps that what was read pays for."""
        if not self.memory.size or not self.new_rows:
            return 0
        return self.plan.steps if self.reading.ended else self.plan.due(self.rows_read)

    @property
    def finished(self) -> bool:
        return self.reading.ended and self.gradient_steps >= self.due

    @property
    def steps_done(self) -> int:
        return self.gradient_steps

    def advance(self) -> None:
        """A gradient step where one is due, else some rows of play. Raises TrialError when numbers blow up."""
        if self.gradient_steps < self.due:
            self._improve()
        else:
            self._read()

    def _read(self) -> None:
        """As far as the next gradient step is due, so that it does not depend on how the store cuts its pages."""
        step = self.gradient_steps + 1
        upto = self.plan.rows_until(step) if step <= self.plan.steps else 0
        rows = self.reading.take(upto - self.rows_read if upto > self.rows_read else BATCH_ROWS)
        if rows is not None:
            self.rows_read += len(rows)
            self._keep(rows)

    def _keep(self, rows: Experiences) -> None:
        apart = held_out(rows, self.plan.holdout_share)
        if apart.any():
            self.holdout.add(rows.where(apart))
            rows = rows.where(~apart)
        self.memory.add(rows)

    def _improve(self) -> None:
        rng = np.random.Generator(np.random.Philox(key=self.seed, counter=self.gradient_steps << 128))
        share = self.gradient_steps / self.plan.steps
        beta = FIRST_BETA + (1.0 - FIRST_BETA) * share
        drawn = self.memory.draw(rng.random(self.plan.effective_batch), beta, self.method.n_step)
        errors, figures = self.method.improve(drawn, self.plan.gradient_accumulation_steps, share, rng)
        self.memory.update(drawn.index, errors)
        self.gradient_steps += 1
        pace = 1.0 / min(self.gradient_steps, AVERAGED_GRADIENT_STEPS)
        for name, value in figures.items():
            self.means[name] = (known := self.means.get(name, 0.0)) + (value - known) * pace
        if self.gradient_steps % self.plan.validation_frequency == 0 or self.gradient_steps == self.plan.steps:
            self.looked = self._look()

    def metrics(self) -> dict[str, float]:
        """Running means at the end, and what the hold-out says where there is any; deterministic."""
        counts = {
            "new_rows": self.new_rows,
            "replayed_rows": self.rows_read - self.new_rows,
            "holdout_rows": self.holdout.size,
            "gradient_steps": self.gradient_steps,
        }
        figures = {f"train_{name}": value for name, value in self.means.items()}
        return {**{name: float(count) for name, count in counts.items()}, **figures, **self.looked}

    def _look(self) -> dict[str, float]:
        """At the hold-out, with the weights that the training began with, and those of now."""
        if not self.holdout.size:
            return {}
        rows, whole = self.holdout.newest(self.method.n_step), self.holdout.newest(WHOLE_EPISODE)
        complete = whole.discount == 0.0
        found = {}
        for ending, judged in zip(("_before", ""), self.method.judged(rows), strict=True):
            found[f"holdout_td_error{ending}"] = _mean(judged.errors)
            if complete.any():
                good = complete & (whole.returns >= np.median(whole.returns[complete]))
                found[f"holdout_return_error{ending}"] = _mean(np.abs(judged.values - whole.returns)[complete])
                found[f"holdout_agreement{ending}"] = _mean(judged.agrees[good])
        return found

    def final(self) -> State:
        """What a later training may start from, by trial and error too."""
        return self.method.final()

    def state(self) -> State:
        """All that the next step depends on."""
        return {
            "method": self.method.state(),
            "memory": self.memory.state(),
            "holdout": self.holdout.state(),
            "reading": self.reading.state(),
            "means": dict(self.means),
            "looked": dict(self.looked),
            "counters": {"seed": self.seed, "rows_read": self.rows_read, "gradient_steps": self.gradient_steps},
        }

    def load_state(self, saved: Mapping[str, object]) -> None:
        """Go on from `state()`, as `weights.unpack` gives it back: with tensors for arrays."""
        state = cast(Mapping[str, Mapping[str, Any]], saved)
        self.method.load_state(state["method"])
        self.memory.load_state(state["memory"])
        self.holdout.load_state(state["holdout"])
        self.reading.load_state(state["reading"])
        self.means, self.looked = dict(state["means"]), dict(state["looked"])
        counters = state["counters"]
        self.seed, self.rows_read, self.gradient_steps = (
            counters[name] for name in ("seed", "rows_read", "gradient_steps")
        )

    def exported(self) -> Exported:
        return self.method.exported()


def _mean(values: Floats | Bools) -> float:
    return float(values.mean(dtype=np.float64))
