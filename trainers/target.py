"""What the worker asks of one kind of target: build a candidate, and let it play.

The worker owns the order of things (build, screen, duel), the durable lines and the pairing; a target knows how its
candidates are trained or compiled and how a game is played. Implementations: arena_target, command, and any user's
`module:Class`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from supervisor.contract import Interface, Params, TrialSpec, Version


class StopRequested(Exception):  # noqa: N818 - not an error: the trial was asked to save and leave
    """Raised by `Control.check` once the trial should stop; what is worth keeping has been saved before."""


class NoProcessLeft(Exception):  # noqa: N818 - no error of the trial's: the machine has no process to give, and may later
    """Raised where a program cannot be started for that reason; the trial is continued."""


class Control(Protocol):
    """The trial's line to the outside: a heartbeat out, a wish to stop in."""

    @property
    def stop_requested(self) -> bool:
        """True once the trial was asked to stop; save the resume point, then call `check`."""

    def beat(self, step: int) -> None:
        """Say that the trial lives and how far it is. Cheap: call it at least once a second."""

    def check(self) -> None:
        """Raise StopRequested if the trial was asked to stop. Call it only where nothing would be lost."""


@dataclass(frozen=True)
class Built:
    """A finished candidate. Paths lie in the work folder given to `build`; an external target has only a hash."""

    steps: int
    model: Path | None = None  # model.onnx, canonical bytes
    weights: Path | None = None  # final.pt
    config_sha256: str | None = None  # external targets: sha256 of the canonical configuration
    interface: Interface | None = None
    measured: Mapping[str, float] = field(default_factory=dict)  # quantities that guards bound
    metrics: Mapping[str, float] = field(default_factory=dict)  # deterministic; they enter the log line
    latency: Mapping[str, float] = field(default_factory=dict)  # seconds, measured; never in the compared part


class Player(Protocol):
    """One side, ready to play."""

    def play(self, first_seed: int, games: int) -> Sequence[float]:
        """Scores in [0, 1] (win 1, draw 1/2, loss 0) of games first_seed, first_seed + 1, ... in that order.

        A game's score depends on nothing but its seed and the side's configuration: not on how games are grouped
        into calls. Raises TrialError with a reason of the closed list when the side itself fails.
        """


@runtime_checkable
class Metering(Protocol):
    """A player that measures more than scores: means per game over its last block, functions of seed and side too."""

    metrics: Mapping[str, float]


@runtime_checkable
class Preparing(Protocol):
    """A target that does several candidates' work at less than the price of one after the other."""

    def prepare(self, candidates: Sequence[tuple[Params, Path]]) -> None:
        """Bring each candidate, with its work folder, as far as `build` then has little left to do in that folder.

        It changes nothing that `build` comes to, and may do nothing. Raises StopRequested after saving.
        """


@runtime_checkable
class Grouping(Protocol):
    """A target that does the trainings of several trials at less than the price of one after the other."""

    def prepare_group(self, others: Sequence[tuple[TrialSpec, Path, Control]]) -> None:
        """Bring this trial, and each other in its folder, as far as `build` then has little left to do there.

        It changes nothing that `build` comes to, and may do nothing. Raises StopRequested after saving.
        """


class TrialTarget(Protocol):
    """One kind of target inside one trial process."""

    block_games: int  # games per call of `play`; each side's block is one durable line

    def __init__(self, spec: TrialSpec, folder: Path, control: Control) -> None: ...

    def build(self, params: Params, work: Path) -> Built:
        """Train or compile the candidate in folder `work`, going on from its resume point if one is there.

        Raises StopRequested after saving when asked to stop, TrialError when there can be no candidate.
        """

    def candidate(self, params: Params, built: Built) -> Player: ...

    def incumbent(self, version: Version) -> Player:
        """The incumbent's side; its model lies in `folder/../../models/<model_sha256>.onnx`."""

    def close(self) -> None:
        """Leave no process and no foreign file behind. Called once, also after an error."""
