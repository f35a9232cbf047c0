"""The models in production. One reference per target says what is live; it changes on the event loop alone, in one
assignment, after everything that could fail has been done aside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from supervisor.contract import Json, Version
from supervisor.registry.store import (
    DamagedFileError,
    MissingFileError,
    ModelStore,
    OversizeFileError,
    UnreadableFileError,
)
from supervisor.serving import session as sessions
from supervisor.serving.catalogue import Catalogue
from supervisor.serving.errors import ApiError, Refused, refused
from supervisor.serving.leash import Leash, on_leash
from supervisor.serving.options import ServerOptions
from supervisor.serving.session import Arrays, Session

_INLINE_ROWS = 8  # running so few rows costs less than handing them to a thread


@dataclass(frozen=True)
class Served:
    """One version, loaded."""

    version: Version
    session: Session
    loaded_at: str


@dataclass
class Slot:
    """One target: what is live, the version before it kept warm, and why the last reload was refused."""

    live: Served | None = None
    previous: Served | None = None
    refusal: ApiError | None = None
    refused_version: str | None = None
    requests: int = 0  # to the live version


@dataclass(frozen=True)
class Swap:
    """What a reload did: `changed` is False where the version was live already."""

    live: Served
    before: str | None
    changed: bool


class Engine:
    """Loads, swaps and runs models. All methods belong to one event loop."""

    def __init__(
        self,
        catalogue: Catalogue,
        options: ServerOptions,
        announce: Callable[[str], None],
        now_text: Callable[[], str],
    ) -> None:
        self._catalogue = catalogue
        self._options = options
        self._store = ModelStore(catalogue.run_dir)
        self._announce = announce
        self._now_text = now_text
        self._reloading = asyncio.Lock()
        self.slots: dict[str, Slot] = {}

    async def load_active(self) -> None:
        """Load every active version; what is refused is announced and does not keep the others from serving."""
        async with self._reloading:
            try:
                active = await asyncio.to_thread(self._catalogue.all_active)
            except ApiError as error:
                self._announce(f"nothing is served yet: {error.message}")
                return
            for target, version in sorted(active.items()):
                slot = self.slots.setdefault(target, Slot())
                try:
                    if isinstance(version, Refused):
                        raise version
                    slot.live = await self._load(version)
                except ApiError as error:
                    self._refuse(target, slot, version.name if isinstance(version, Version) else None, error)
                else:
                    self._announce(f"{target}: serving {slot.live.version.name}")

    async def reload(self, target: str, name: str | None) -> Swap:
        """Make the active (or the named) version live. Raises ApiError, with what was live still live."""
        async with self._reloading:
            slot = self.slots.get(target, Slot())
            wanted = name
            try:
                version = await asyncio.to_thread(self._catalogue.resolve, target, name)
                wanted = version.name
                served = await self._served(slot, version)
            except ApiError as error:
                if isinstance(error, Refused) or (slot.live is not None and error.status == 503):
                    self.slots[target] = slot
                    self._refuse(target, slot, wanted, error)
                raise
            self.slots[target] = slot
            return await self._flip(target, slot, served)

    async def infer(self, target: str, decode: Callable[[Session], Arrays]) -> tuple[str, Arrays]:
        """Version name and outputs for the rows that `decode` makes for the live model. Raises ApiError."""
        slot = self.slots.get(target)
        if slot is None:
            raise ApiError(
                404, "unknown_model", f"no model {target[:200]!r}; served are {sorted(self.slots) or 'none yet'}"
            )
        live = slot.live
        if live is None:
            reason = slot.refusal.message if slot.refusal else "it is being loaded"
            raise ApiError(503, "not_loaded", f"{target} has no model loaded: {reason}", {"Retry-After": "5"})
        inputs = decode(live.session)
        slot.requests += 1
        rows = len(_first(inputs))
        outputs = (
            live.session.run(inputs) if rows <= _INLINE_ROWS else await asyncio.to_thread(live.session.run, inputs)
        )
        return live.version.name, outputs

    def models(self) -> list[dict[str, Json]]:
        """The live models, for `/models`."""
        return [_listed(target, slot, slot.live) for target, slot in sorted(self.slots.items()) if slot.live]

    def refusals(self) -> list[dict[str, Json]]:
        """Targets whose last reload was refused, for `/models`."""
        return [
            {
                **_key(target),
                "version": slot.refused_version,
                "code": slot.refusal.code,
                "message": slot.refusal.message,
            }
            for target, slot in sorted(self.slots.items())
            if slot.refusal
        ]

    async def _served(self, slot: Slot, version: Version) -> Served:
        for warm in (slot.live, slot.previous):
            if warm is not None and warm.version == version:
                return warm
        return await self._load(version)

    async def _load(self, version: Version) -> Served:
        loaded = await on_leash(
            lambda leash: self._build(version, leash), self._options.load_timeout_s, f"load-{version.name}"
        )
        return Served(version, loaded, self._now_text())

    def _build(self, version: Version, leash: Leash) -> Session:
        """Runs aside, on the leash."""
        if version.interface is None:
            raise refused("no_model_file", f"{version.name} is an external configuration without a model file")
        try:
            data = self._store.read(version.model_sha256, max_bytes=self._options.max_model_mb * 2**20)
        except MissingFileError as error:
            raise refused("missing_file", str(error)) from error
        except OversizeFileError as error:
            raise refused("too_large", str(error)) from error
        except (DamagedFileError, ValueError) as error:
            raise refused("damaged", str(error)) from error
        except UnreadableFileError as error:  # it may pass, so it is no verdict on the version
            raise ApiError(503, "unreadable", str(error), {"Retry-After": "5"}) from error
        return sessions.build(data, version.interface, self._options.max_rows, leash)

    async def _flip(self, target: str, slot: Slot, served: Served) -> Swap:
        before = slot.live
        slot.refusal = slot.refused_version = None
        if served is before:
            return Swap(served, before.version.name, changed=False)
        slot.previous, slot.live, slot.requests = before, served, 0
        name = served.version.name
        self._announce(f"{target}: {before.version.name} -> {name}" if before else f"{target}: serving {name}")
        await asyncio.to_thread(sessions.release_memory)
        return Swap(served, before.version.name if before else None, changed=True)

    def _refuse(self, target: str, slot: Slot, name: str | None, error: ApiError) -> None:
        slot.refusal, slot.refused_version = error, name
        kept = f"{slot.live.version.name} keeps serving" if slot.live else "nothing is served for it"
        self._announce(f"{target}: {name or 'the active version'} refused, {kept}: {error.message}")


def _first(arrays: Arrays) -> np.ndarray[Any, np.dtype[Any]]:
    return next(iter(arrays.values()))


def _key(target: str) -> dict[str, Json]:
    archetype, model_type = target.split("/", 1)
    return {"archetype": archetype, "model_type": model_type}


def _listed(target: str, slot: Slot, live: Served) -> dict[str, Json]:
    interface = live.session.interface
    return {
        **_key(target),
        "version": live.version.name,
        "iteration": live.version.iteration,
        "sha256": live.version.model_sha256,
        "inputs": {name: list(shape) for name, shape in interface.inputs.items()},
        "outputs": {name: list(shape) for name, shape in interface.outputs.items()},
        "loaded_at": live.loaded_at,
        "previous": slot.previous.version.name if slot.previous else None,
        "provider": live.session.provider,
        "requests": slot.requests,
    }
