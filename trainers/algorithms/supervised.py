"""What trainings by given answers have in common: one network that follows them, and all that its next step needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from trainers import device
from trainers.algorithms.patience import Patience
from trainers.algorithms.updates import UpdateArgs, Updater
from trainers.learner import State
from trainers.networks.layers import Weights, adopt

Seeds = NDArray[np.uint64]
Drawn = TypeVar("Drawn")

DRAWN_STEPS = 16
"""Steps whose situations are made at once: wide batches are cheap."""


class Args(Protocol):
    """How the network follows; a field each of an algorithm's own."""

    @property
    def learning_rate(self) -> float: ...
    @property
    def learning_rate_factor(self) -> float: ...
    @property
    def learning_rate_end(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def gradient_clip(self) -> float: ...
    @property
    def amp(self) -> bool: ...


class Supervised:
    """The part of a Learner that does not depend on what the answers are; an algorithm adds its own to `state`."""

    def __init__(
        self,
        network: nn.Module,
        args: Args,
        seed: int,
        last_t: int,
        patience: Patience,
        start: Mapping[str, Weights] | None,
    ) -> None:
        self.device = device.chosen()
        self.warm = start is not None and adopt(network, start["network"])
        network.to(self.device)
        rate = args.learning_rate * args.learning_rate_factor
        self.updater = Updater(
            network.parameters(),
            UpdateArgs(rate, args.learning_rate_end, args.weight_decay, args.gradient_clip, args.amp),
        )
        self.seed, self.last_t, self.patience = seed, max(1, last_t), patience
        self.t = 0
        self._followed = network.eval()

    @property
    def finished(self) -> bool:
        return self.t >= self.last_t or self.patience.exhausted

    @property
    def share(self) -> float:
        """Of the training that is done."""
        return self.t / self.last_t

    def follow(self, losses: Sequence[Callable[[], Tensor]]) -> float:
        """One step along the mean gradient of some micro-batches, with dropout; their mean loss."""
        self._followed.train()
        loss = self.updater.step(losses, self.share)
        self._followed.eval()
        return loss

    def final(self) -> State:
        """What a later training may start from."""
        return {"network": self._followed.state_dict()}

    def state(self) -> State:
        return {
            **self.final(),
            "updater": self.updater.state(),
            "patience": self.patience.state(),
            **device.rng_state(self.device),  # dropout's
            "counters": {"seed": self.seed, "t": self.t, "warm": self.warm},
        }

    def load_state(self, saved: Mapping[str, object]) -> None:
        """Go on from `state()`, as `weights.unpack` gives it back: with tensors for arrays."""
        state = cast(Mapping[str, Mapping[str, object]], saved)
        self._followed.load_state_dict(state["network"])
        self.updater.load_state(state["updater"])
        self.patience.load_state(state["patience"])
        device.set_rng_state(self.device, state)
        counters = cast(Mapping[str, int], state["counters"])
        self.seed, self.t, self.warm = counters["seed"], counters["t"], bool(counters["warm"])


class InBlocks(Generic[Drawn]):
    """What each step learns from, made for some steps at once; it follows from the seeds, so nothing is saved."""

    def __init__(self, draw: Callable[[Seeds], Drawn], per_step: int) -> None:
        self._draw, self._per_step = draw, per_step
        self._block: tuple[int, int, Drawn] | None = None

    def at(self, seed: int, t: int) -> tuple[Drawn, slice]:
        """A block, and the part of it that step t of the training with that seed has."""
        block, within = divmod(t, DRAWN_STEPS)
        if self._block is None or self._block[:2] != (seed, block):
            size = DRAWN_STEPS * self._per_step
            self._block = seed, block, self._draw(seeds(seed, block * size, size))
        return self._block[2], slice(within * self._per_step, (within + 1) * self._per_step)


def seeds(seed: int, first: int, count: int) -> Seeds:
    """Of situations `first` and on of the training with that seed."""
    return np.arange(count, dtype=np.uint64) + np.uint64(seed + first)
