"""Where a training's time goes: a stopwatch around the parts that every algorithm is made of, and torch's profiler.

The same training three times for a third of the time each: unwatched for its pace, under the stopwatch, and under the
profiler for the share of time in torch's kernels.
"""

from __future__ import annotations

import functools
import inspect
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from torch import nn

from supervisor.tasks import ProfileResult, ProfileTask
from trainers.jobs.job import main, say
from trainers.jobs.training import begin
from trainers.learner import Learner

ENVIRONMENT, CHOICE, REPLAY = "environment", "action choice", "replay"
FORWARD, BACKWARD, OPTIMIZER, REST = "forward", "backward", "optimizer", "rest"
PARTS = (ENVIRONMENT, CHOICE, REPLAY, FORWARD, BACKWARD, OPTIMIZER, REST)

METHODS = {
    **dict.fromkeys(("_act", "_play", "_choose", "look"), CHOICE),
    **dict.fromkeys(("_loss", "_follow", "_chooser", "followed", "__call__"), FORWARD),
    "add_gradients": BACKWARD,
    **dict.fromkeys(("_move", "norms", "step"), OPTIMIZER),
}
"""What a method of an algorithm is for, by its name. Of what it calls, parts of their own go by their own name."""

KEEPING = ("Replay", "ReplaySlot", "Rollout", "PackRollout", "Fights", "Streams")
"""The classes of algorithms that keep what was seen."""

WARM_UP = 0.2
PROFILED_ADVANCES = 200


class Stopwatch:
    """Seconds by part; a part that is entered inside another stops that one's clock."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._inside = [REST]
        self._since_s = time.perf_counter()

    def start(self) -> None:
        self._since_s = time.perf_counter()

    def stop(self) -> None:
        self._charge()

    def around(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed. What a network computes while an action is chosen belongs to the choice."""

        @functools.wraps(function)
        def timed(*given: Any, **named: Any) -> Any:
            if part == FORWARD and self._inside[-1] in (CHOICE, FORWARD):
                return function(*given, **named)
            self._charge()
            self._inside.append(part)
            try:
                return function(*given, **named)
            finally:
                self._charge()
                self._inside.pop()

        return timed

    def _charge(self) -> None:
        now_s = time.perf_counter()
        self.seconds[self._inside[-1]] += now_s - self._since_s
        self._since_s = now_s


def work(task: ProfileTask) -> ProfileResult:
    learner = begin(task.training).learner
    _advance_for(learner, WARM_UP * task.seconds)
    share = (1 - WARM_UP) * task.seconds / 3
    say(f"{task.training.target}: a third each unwatched, under a stopwatch, under torch's profiler")
    steps, wall_s = _advance_for(learner, share)
    pace = steps / wall_s if wall_s else 0.0
    watch = Stopwatch()
    with _watched(watch):
        watch.start()
        steps, wall_s = _advance_for(learner, share)
        watch.stop()
    return ProfileResult(steps, wall_s, watch.seconds, pace, _outside_kernels(learner, share))


def _advance_for(learner: Learner, seconds: float, most: int = sys.maxsize) -> tuple[int, float]:
    """At least one unit of work, unless the training is over: (steps, seconds)."""
    first, began_s, done = learner.steps_done, time.perf_counter(), 0
    while not learner.finished and done < most and (done == 0 or time.perf_counter() - began_s < seconds):
        learner.advance()
        done += 1
    return learner.steps_done - first, time.perf_counter() - began_s


def _outside_kernels(learner: Learner, seconds: float) -> float | None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiled:
        _, wall_s = _advance_for(learner, seconds, PROFILED_ADVANCES)
    kernels_s = sum(event.self_cpu_time_total for event in profiled.key_averages()) / 1e6
    return max(0.0, 1 - kernels_s / wall_s) if kernels_s else None


@contextmanager
def _watched(watch: Stopwatch) -> Iterator[None]:
    """Every part of the work goes through the stopwatch for as long as this is open."""
    with mock.patch.multiple(nn.Module, __call__=watch.around(FORWARD, nn.Module.__call__)):
        changes = [*_torch(watch), *_algorithms(watch), *_worlds(watch)]
        undo = [(owner, name, inspect.getattr_static(owner, name)) for owner, name, _ in changes]
        try:
            for owner, name, timed in changes:
                setattr(owner, name, timed)
            yield
        finally:
            for owner, name, before in reversed(undo):
                setattr(owner, name, before)


Change = tuple[Any, str, Any]


def _torch(watch: Stopwatch) -> Iterator[Change]:
    yield torch.Tensor, "backward", watch.around(BACKWARD, torch.Tensor.backward)
    yield torch.autograd, "grad", watch.around(BACKWARD, torch.autograd.grad)
    yield nn.utils, "clip_grad_norm_", watch.around(OPTIMIZER, nn.utils.clip_grad_norm_)
    for optimizer in (torch.optim.AdamW, torch.optim.Adam):
        for name in ("step", "zero_grad"):
            yield optimizer, name, watch.around(OPTIMIZER, getattr(optimizer, name))


def _algorithms(watch: Stopwatch) -> Iterator[Change]:
    for module in (*_modules("trainers.algorithms"), *_modules("trainers.networks")):
        for cls in _classes(module):
            keeps = cls.__name__ in KEEPING
            for name, method in list(vars(cls).items()):
                part = REPLAY if keeps and not name.startswith("__") else METHODS.get(name)
                if part and inspect.isfunction(method):
                    yield cls, name, watch.around(part, method)


def _worlds(watch: Stopwatch) -> Iterator[Change]:
    """Methods, properties and functions that anybody outside the arena calls."""
    for module in _modules("trainers.arena"):
        for cls in _classes(module):
            for name, member in list(vars(cls).items()):
                if name.startswith("_"):
                    continue
                if inspect.isfunction(member):
                    yield cls, name, watch.around(ENVIRONMENT, member)
                elif isinstance(member, property) and member.fget:
                    yield cls, name, property(watch.around(ENVIRONMENT, member.fget))
    functions = {
        id(member): watch.around(ENVIRONMENT, member)
        for module in _modules("trainers.arena")
        for member in vars(module).values()
        if inspect.isfunction(member) and member.__module__ == module.__name__
    }
    for module in [*_modules("trainers.models"), *_modules("trainers.algorithms")]:
        for name, member in list(vars(module).items()):
            if id(member) in functions:
                yield module, name, functions[id(member)]


def _modules(package: str) -> list[ModuleType]:
    return [module for name, module in list(sys.modules.items()) if name.startswith(f"{package}.")]


def _classes(module: ModuleType) -> list[type]:
    return [
        member
        for member in vars(module).values()
        if inspect.isclass(member) and member.__module__ == module.__name__ and not _only_data(member)
    ]


def _only_data(cls: type) -> bool:
    """Tuples and protocols: nothing happens in them."""
    return issubclass(cls, tuple) or getattr(cls, "_is_protocol", False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], ProfileTask, work))
