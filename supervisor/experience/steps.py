"""Steps of play one by one, as a game has them, and the body that brings them to the server."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from supervisor.experience.intake import frame
from supervisor.experience.rows import MICROSECONDS, Experiences, Floats, episode_number


class Step(NamedTuple):
    """One row of `Experiences`, as it waits."""

    target: str
    state: Floats
    action: int
    control: Floats
    reward: float
    next_state: Floats
    done: bool
    priority: float
    episode: int
    step: int
    version: int
    time_us: int


def step_of(
    target: str,
    state: Any,
    action: Any,
    reward: float,
    next_state: Any,
    done: bool,
    priority: float,
    episode: str | int,
    step: int,
    version: str | int,
    time_s: float | None,
) -> Step:
    """Raises ValueError for what cannot even be sent; whether it is an experience, the server says."""
    if target.count("/") != 1:
        raise ValueError(f"{target!r}: no target; give archetype/model_type")
    with np.errstate(over="ignore"):  # the server quarantines what is not finite
        before, after = (np.array(values, np.float32).ravel() for values in (state, next_state))
        acted = np.asarray(action)
        control = acted.astype(np.float32).ravel() if acted.ndim else np.zeros(0, np.float32)
    if before.shape != after.shape:
        raise ValueError(f"a state of {len(before)} numbers and a next one of {len(after)}: give equal ones")
    acts_by = _whole("version", int(version.removeprefix("v")) if isinstance(version, str) else version, 32)
    when_us = time.time_ns() // 1000 if time_s is None else round(time_s * MICROSECONDS)
    return Step(
        target,
        before,
        0 if acted.ndim else _whole("action", acted.item(), 32),
        control,
        float(reward),
        after,
        bool(done),
        float(priority),
        _whole("episode", episode_number(episode), 64),
        _whole("step", step, 32),
        acts_by,
        _whole("time_s", when_us, 64),
    )


def _whole(name: str, value: Any, bits: int) -> int:
    if isinstance(value, float) or not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
        raise ValueError(f"{name}: {value!r} is no whole number of {bits} bits")
    return int(value)


def body_of(steps: Sequence[Step]) -> bytes:
    """A frame for each target and width."""
    groups: dict[tuple[str, int, int], list[Step]] = {}
    for own in steps:
        groups.setdefault((own.target, len(own.state), len(own.control)), []).append(own)
    with np.errstate(over="ignore"):
        return b"".join(frame.encode(target, _columns(group)) for (target, _, _), group in groups.items())


def _columns(steps: Sequence[Step]) -> Experiences:
    _, states, actions, controls, rewards, next_states, done, priorities, episodes, numbers, versions, times = zip(
        *steps, strict=True
    )
    return Experiences.of(
        np.stack(states),
        np.stack(controls) if len(controls[0]) else np.array(actions),
        rewards,
        np.stack(next_states),
        done,
        time_us=0,
        priorities=priorities,
        episodes=episodes,
        steps=numbers,
        versions=versions,
        times=times,
    )
