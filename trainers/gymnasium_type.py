"""A Gymnasium environment as something to learn: by PPO or Double DQN if it takes choices, by SAC if numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from supervisor.contract import Json, Reason, parse
from supervisor.errors import TrialError
from trainers.algorithms import dqn, ppo, sac
from trainers.algorithms.defaults import ARGS, names_of
from trainers.evaluate import entropy_bits
from trainers.gymnasium_episodes import Episode, Episodes, Worth, made
from trainers.gymnasium_episodes import Shape as EnvironmentShape
from trainers.learner import Case, Floats, Learner, Rehearsal, Session, State
from trainers.networks.layers import Weights
from trainers.target import Player

INPUT: Final = "state"
OUTPUTS: Final[Mapping[str, str]] = {"ppo": "logits", "dqn": "q_values", "sac": "action"}
PLAYED_ROWS: Final = 16
"""Every call of the model has this many rows, so that the kernels see one shape only."""

REHEARSED_EPISODES: Final = 16
MOST_REHEARSED: Final = 4096  # steps kept of them


@dataclass(frozen=True)
class Settings:
    """`settings` of the target's file."""

    environment: str  # its id, such as CartPole-v1; module:Id imports the module first
    return_low: float  # an episode's return that is worth 0
    return_high: float  # and the one that is worth 1
    algorithm: str = "ppo"  # ppo and dqn for choices, sac for numbers
    rows: int = 8  # episodes side by side while it learns; a power of two
    options: Mapping[str, Json] | None = None  # handed to gymnasium.make


class GymnasiumType:
    """A ModelType. A game is an episode; its score is the return between `return_low` and `return_high`."""

    def __init__(self, settings: Mapping[str, Json]) -> None:
        """Raises TrialError that says what the settings lack, or why the environment cannot be learnt."""
        try:
            self._settings = parse(Settings, dict(settings))
        except ValueError as error:
            raise TrialError(Reason.BUILD_FAILED, f"settings: {error}") from error
        known = self._settings
        if known.algorithm not in ARGS:
            raise TrialError(
                Reason.BUILD_FAILED, f"settings: algorithm {known.algorithm!r}: there are {', '.join(ARGS)}"
            )
        if known.rows < 1 or known.rows & (known.rows - 1):
            raise TrialError(Reason.BUILD_FAILED, f"settings: rows {known.rows} is no power of two")
        if known.return_low >= known.return_high:
            raise TrialError(Reason.BUILD_FAILED, "settings: return_low must be below return_high")
        shape = EnvironmentShape(made(known.environment, known.options or {}))
        if shape.continuous != (known.algorithm == "sac"):
            fitting = "sac" if shape.continuous else "ppo or dqn"
            raise TrialError(Reason.BUILD_FAILED, f"settings: {known.environment} is learnt by algorithm {fitting}")
        self._shape = shape
        self._worth = Worth(known.return_low, known.return_high)
        self.args = ARGS[known.algorithm]
        self.names: Mapping[str, str] = names_of(known.algorithm)

    def learner(self, case: Case, args: Any, steps: int, seed: int, start: State | None) -> Learner:
        """`steps` are environment steps."""
        known = self._settings
        episodes = Episodes(known.environment, known.options or {}, known.rows, seed, self._worth)
        sizes = self._shape.inputs, self._shape.outputs
        weights = cast(Mapping[str, Weights] | None, start)
        if known.algorithm == "dqn":
            return dqn.DoubleDQN(args, episodes, steps, seed, *sizes, weights)
        if known.algorithm == "sac":
            return sac.Sac(args, episodes, steps, seed, *sizes, weights)
        return ppo.Ppo(args, episodes, steps, seed, *sizes, weights, OUTPUTS["ppo"])

    def player(self, case: Case, session: Session) -> Player:
        return EpisodePlayer(session, self._settings, self._worth)

    def rehearse(self, case: Case, session: Session, first_seed: int) -> Rehearsal:
        player = EpisodePlayer(session, self._settings, self._worth)
        player.play(first_seed, REHEARSED_EPISODES)
        states = np.concatenate(player.seen)[:MOST_REHEARSED]
        measured = {"reward": player.mean_return}
        if not self._shape.continuous:
            measured["entropy_bits"] = entropy_bits(player.decide(states).astype(np.int64), self._shape.outputs)
        return Rehearsal({INPUT: states}, measured)

    def baseline(self, case: Case) -> None:
        """There is no simple rule for just any environment."""


class EpisodePlayer:
    """Plays episodes with a file, up to 16 side by side; seed s always in row s modulo 16."""

    def __init__(self, session: Session, settings: Settings, worth: Worth) -> None:
        self._session, self._settings, self._worth = session, settings, worth
        self._rows: list[Episode] = []
        self.seen: list[Floats] = []
        self.mean_return = 0.0

    def decide(self, states: Floats) -> NDArray[Any]:
        """The choice of the greatest value for each row, or the numbers of a continuous action."""
        said = self._session.run({INPUT: states})[OUTPUTS[self._settings.algorithm]]
        return said if self._settings.algorithm == "sac" else said.argmax(1)

    def play(self, first_seed: int, games: int) -> list[float]:
        """Scores of the episodes with seeds first_seed, first_seed + 1, ..."""
        self.seen = []
        returns: list[float] = []
        for begin in range(0, games, PLAYED_ROWS):
            count = min(PLAYED_ROWS, games - begin)
            returns += self._block(range(first_seed + begin, first_seed + begin + count))
        self.mean_return = sum(returns) / games if games else 0.0
        return [self._worth.score(total) for total in returns]

    def _block(self, seeds: range) -> list[float]:
        known = self._settings
        self._rows = self._rows or [Episode(known.environment, known.options or {}) for _ in range(PLAYED_ROWS)]
        states = np.zeros((PLAYED_ROWS, self._rows[0].shape.inputs), np.float32)
        playing = {seed % PLAYED_ROWS: self._rows[seed % PLAYED_ROWS] for seed in seeds}
        for seed in seeds:
            self._rows[seed % PLAYED_ROWS].begin(seed)
        running = sorted(playing)
        while running:
            for row in running:
                states[row] = playing[row].observation
            self.seen.append(states[running].copy())
            decided = self.decide(states)
            running = [row for row in running if not any(playing[row].step(np.copy(decided[row]))[1:])]
        return [self._rows[seed % PLAYED_ROWS].total for seed in seeds]
