"""Whether this machine has what the configuration's devices name: said at the start, not when a trial fails there."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from supervisor.config.load import Loaded
from supervisor.errors import ConfigurationError
from supervisor.execution.device import Machine, problem_of
from supervisor.execution.gpu import Gpu
from supervisor.execution.machine import machine_of
from supervisor.search.setup import Setup


def require_devices(setup: Setup) -> None:
    """Raises ConfigurationError with every device that is not there, where it was asked for, and what there is."""
    if any(target.device.startswith("cuda") for target in setup.targets.values()):
        problems = list(missing_devices(setup, machine_of(Gpu.find_all(lambda said: None))))
        if problems:
            raise ConfigurationError(problems)


def missing_devices(setup: Setup, machine: Machine) -> Iterator[str]:
    """A sentence for each place that names one."""
    found: dict[str, None] = {}
    for key, target in setup.targets.items():
        problem = problem_of(target.device, machine, target.kind)
        if problem is not None:
            found[f"{_place(setup.loaded, key, target.device)}: {problem}"] = None
    yield from found


def _place(loaded: Loaded, key: str, device: str) -> str:
    """Where the target's device comes from: its own key goes before globs, later globs before earlier ones."""
    named = [name for name, own in loaded.settings.targets.items() if own.device == device and fnmatchcase(key, name)]
    if not named:
        return "flag --device"
    name = key if key in named else named[-1]
    return loaded.places.get(("targets", name, "device"), f"targets.{name}.device")
