"""The algorithms' parameters with defaults, for environments of one's own: a file names those that it changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from trainers.algorithms import dqn_args, ppo, sac


@dataclass(frozen=True)
class PpoArgs(ppo.Args):
    """Those of rl-zoo's CartPole, where a file does not say otherwise."""

    learning_rate: float = 1e-3
    learning_rate_end: float = 0.0
    weight_decay: float = 0.0
    gradient_clip: float = 0.5
    gae_lambda: float = 0.8
    clip: float = 0.2
    value_coefficient: float = 0.5
    entropy_coefficient: float = 0.0
    horizon: int = 32
    epochs: int = 20
    batch_size: int = 256
    accumulation: int = 1
    patience: int = 0
    hidden: str = "64"
    head: str = "64"
    gamma: float = 0.98


@dataclass(frozen=True)
class DqnArgs(dqn_args.Args):
    """Double DQN for small environments, where a file does not say otherwise."""

    learning_rate: float = 1e-3
    learning_rate_end: float = 0.1
    weight_decay: float = 0.0
    gradient_clip: float = 10.0
    gamma: float = 0.99
    n_step: int = 3
    batch_size: int = 64
    accumulation: int = 1
    amp: bool = False
    updates: int = 2
    target_interval: int = 250
    replay_rows: int = 4096
    learning_starts: int = 128
    priority_alpha: float = 0.6
    priority_beta: float = 0.4
    exploration_noise: float = 0.04
    exploration_fraction: float = 0.2
    double: bool = True
    dueling: bool = False
    hidden: str = "128,128"
    dropout: float = 0.0
    patience: int = 0


@dataclass(frozen=True)
class SacArgs(sac.Args):
    """Those of rl-zoo's Pendulum, where a file does not say otherwise."""

    learning_rate: float = 1e-3
    learning_rate_end: float = 1.0
    weight_decay: float = 0.0
    gradient_clip: float = 10.0
    gamma: float = 0.99
    tau: float = 0.005
    temperature: float = 1.0
    target_entropy: float = -1.0
    reward_scale: float = 1.0
    batch_size: int = 256
    accumulation: int = 1
    updates: int = 1
    replay_rows: int = 20000
    learning_starts: int = 100
    patience: int = 0
    hidden: str = "256,256"


ARGS: Final[Mapping[str, type[Any]]] = {"ppo": PpoArgs, "dqn": DqnArgs, "sac": SacArgs}
SHARED: Final = {"learning_rate": "training.learning_rate", "exploration_noise": "training.exploration_noise"}


def names_of(algorithm: str) -> dict[str, str]:
    """Each field's parameter in a search space: `ppo.gamma` for `gamma`."""
    return {field.name: SHARED.get(field.name, f"{algorithm}.{field.name}") for field in fields(ARGS[algorithm])}
