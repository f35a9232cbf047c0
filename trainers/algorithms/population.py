"""Several Double DQN trainings of one shape that take their steps as one batch: a stacked group.

A training's results are the same bits whoever it shares the batch with, alone too. So a slot may leave at any time, and
slots that were saved at different steps may come together again: those behind go first until all are level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from supervisor.errors import TrialError
from trainers.algorithms.dqn import Batch, DoubleDQN

COMMON = (
    "batch_size",
    "accumulation",
    "amp",
    "updates",
    "replay_rows",
    "learns_from",
    "hidden",
    "dueling",
    "dropout",
)
"""What all candidates of a batch must agree in, of their arguments; all others are each one's own."""


class Population:
    """Slot k is `learners[k]`, as a model type makes it, restored or not; what was said of a learner holds for it."""

    def __init__(self, learners: Sequence[DoubleDQN]) -> None:
        """Raises ValueError that names what they do not agree in."""
        shapes = [shape(learner) for learner in learners]
        differing = [name for name, value in shapes[0].items() if any(other.get(name) != value for other in shapes)]
        if differing:
            raise ValueError(f"a population needs candidates of one shape; these differ in {', '.join(differing)}")
        self._learners = list(learners)
        self._dropped: set[int] = set()

    def slot(self, k: int) -> DoubleDQN:
        """Its state, figures and network; it must not be advanced by itself."""
        return self._learners[k]

    @property
    def running(self) -> list[int]:
        """Slots that go on: neither finished, nor diverged, nor dropped."""
        return [
            k
            for k, learner in enumerate(self._learners)
            if not learner.finished and learner.failure is None and k not in self._dropped
        ]

    @property
    def failures(self) -> Mapping[int, TrialError]:
        """Slots whose numbers blew up, and how; they keep the last good weights."""
        return {k: learner.failure for k, learner in enumerate(self._learners) if learner.failure is not None}

    @property
    def sound(self) -> Sequence[DoubleDQN]:
        """Those whose numbers did not blow up."""
        return [learner for learner in self._learners if learner.failure is None]

    @property
    def finished(self) -> bool:
        return not self.running

    def drop(self, k: int) -> None:
        """Slot k goes no further. The others do not notice."""
        self._dropped.add(k)

    def advance(self) -> None:
        """One step of every fight of the running slots that are furthest behind, with its gradient steps."""
        running = [self._learners[k] for k in self.running]
        behind = min(learner.t for learner in running)
        _together([learner for learner in running if learner.t == behind]).advance()


def shape(learner: DoubleDQN) -> dict[str, object]:
    """What learners must agree in to share a batch."""
    weights = learner.batch.online.weights
    return {
        **{name: getattr(learner.args, name) for name in COMMON},
        "rows": learner.environment.rows,
        "inputs": learner.inputs,
        "outputs": learner.outputs,
        "network": (type(learner.batch.online.model), {name: own.shape[1:] for name, own in weights.items()}),
    }


def _together(learners: list[DoubleDQN]) -> Batch:
    """The batch of just these learners: the one that they are in, or a new one, which leaves the others one each."""
    batch = learners[0].batch
    if batch.learners == learners:
        return batch
    sharing = [other for learner in learners for other in learner.batch.learners if other not in learners]
    for other in dict.fromkeys(sharing):
        Batch.of([other])
    return Batch.of(learners)
