"""All targets that the server has to do with."""

from __future__ import annotations

from collections.abc import Iterator

from supervisor.serving.errors import ApiError
from supervisor.serving.served import Slot


def oip_name(target: str) -> str:
    """A target's name in the Open Inference Protocol: `archetype.model_type`."""
    return target.replace("/", ".", 1)


class Slots:
    """By target. A slot is never taken away or exchanged for another."""

    def __init__(self) -> None:
        self._slots: dict[str, Slot] = {}
        self._named: dict[str, Slot] = {}

    def __iter__(self) -> Iterator[Slot]:
        return iter([self._slots[target] for target in sorted(self._slots)])

    def get(self, target: str) -> Slot | None:
        return self._slots.get(target)

    def named(self, name: str) -> Slot | None:
        return self._named.get(name)

    def made(self, target: str) -> Slot:
        """The target's, made where there is none."""
        slot = self._slots.get(target)
        if slot is None:
            slot = self._slots[target] = self._named[oip_name(target)] = Slot(target)
        return slot

    def known(self, target: str) -> Slot:
        """Raises ApiError (404) for a target that is not there."""
        slot = self._slots.get(target)
        if slot is None:
            served = sorted(self._slots) or "none yet"
            raise ApiError(404, "unknown_model", f"no model {target[:200]!r}; served are {served}")
        return slot
