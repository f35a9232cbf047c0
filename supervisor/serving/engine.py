"""The models in production. One reference per target says what is live; it changes on the event loop alone, in one
assignment, after everything that could fail has been done aside."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass

from supervisor.contract import Json, Version
from supervisor.errors import IncumbentError
from supervisor.registry.server_rollbacks import Cause, RollbackFile, ServerRollback
from supervisor.registry.store import (
    DamagedFileError,
    MissingFileError,
    ModelStore,
    OversizeFileError,
    UnreadableFileError,
)
from supervisor.serving import session as sessions
from supervisor.serving.catalogue import Catalogue
from supervisor.serving.errors import ApiError, Refused, refused, told_without
from supervisor.serving.gpu_room import Room
from supervisor.serving.leash import Leash, on_leash, release_memory
from supervisor.serving.monitoring import monitoring
from supervisor.serving.oip import Reader
from supervisor.serving.options import ServerOptions, WatchOptions
from supervisor.serving.served import Served, Slot, is_named
from supervisor.serving.session import Session
from supervisor.serving.shadow import listed
from supervisor.serving.slots import Slots, oip_name
from supervisor.serving.watch import Watch
from supervisor.serving.window import Verdict


@dataclass(frozen=True)
class Swap:
    """What a reload did: `changed` is False where the version was live already."""

    live: Served
    before: str | None
    changed: bool


class Engine:
    """Loads and swaps models. All methods belong to one event loop."""

    def __init__(
        self,
        catalogue: Catalogue,
        options: ServerOptions,
        watch: Watch,
        announce: Callable[[str], None],
        now_text: Callable[[], str],
        room: Room | None = None,
    ) -> None:
        """`room`: what sessions may take of the GPU's memory; None for the CPU."""
        self._catalogue = catalogue
        self._options = options
        self._watch = watch
        self._store = ModelStore(catalogue.run_dir)
        self._rollbacks = RollbackFile(catalogue.run_dir)
        self._announce = announce
        self._now_text = now_text
        self._room = room
        self._loading = asyncio.Lock()  # one model at a time: the cores are needed for answers
        self.slots = Slots()
        self._tidying: asyncio.Future[None] | None = None  # the last one: a future that nobody holds may vanish

    async def load_active(self) -> None:
        """Load every active version; what is refused is announced and does not keep the others from serving."""
        try:
            active = await asyncio.to_thread(self._catalogue.all_active)
        except ApiError as error:
            self._announce(f"nothing is served yet: {error.message}")
            return
        for target, version in sorted(active.items()):
            slot = self.slots.made(target)
            try:
                if isinstance(version, Refused):
                    raise version
                slot.live = await self._load(target, version)
            except ApiError as error:
                self._refuse(slot, version.name if isinstance(version, Version) else None, error)
            else:
                self._announce(f"{target}: serving {slot.live.version.name}")
                await self._watch_on(slot, slot.live)

    async def _watch_on(self, slot: Slot, live: Served) -> None:
        """Go on with the watch over the live version that the server's end interrupted; begin one over a version that
        was promoted meanwhile."""
        kept = await asyncio.to_thread(self._watch.kept, slot.target)
        if kept is None or not self._watch.options.enabled:
            return
        slot.baseline = kept.baseline
        found = self._watch.comparison(kept, live.version)
        if found is None:
            return
        (name, sha256), goes_on = found
        if name in {live.version.name, *await asyncio.to_thread(self._catalogue.gone, slot.target)}:
            return
        try:
            before = await asyncio.to_thread(self._catalogue.resolve, slot.target, name)
            if _named(before) != (name, sha256):
                return
            slot.previous = await self._load(slot.target, before)
        except ApiError as error:
            self._announce(f"{slot.target}: {live.version.name} is not watched, {name} cannot be had: {error.message}")
        else:
            self._watch.begin(slot, live, slot.previous, kept if goes_on else None)

    async def candidate(self, target: str, name: str) -> Served:
        """The named version, loaded and not live. Raises ApiError."""
        slot = self.slots.known(target)
        return await self._served(slot, await asyncio.to_thread(self._catalogue.resolve, target, name))

    async def reload(self, target: str, name: str | None) -> Swap:
        """Make the active (or the named) version live. Raises ApiError, with what was live still live."""
        slot = self.slots.get(target) or Slot(target)
        async with slot.lock:
            wanted = name
            try:
                version = await asyncio.to_thread(self._catalogue.resolve, target, name)
                wanted = version.name
                served = await self._served(slot, version)
            except ApiError as error:
                if isinstance(error, Refused) or (slot.live is not None and error.status == 503):
                    self._refuse(self.slots.made(target), wanted, error)
                raise
            is_first = slot.live is None
            swap = self._flip(self.slots.made(target), served, await asyncio.to_thread(self._catalogue.gone, target))
            if is_first:
                await self._watch_on(self.slots.made(target), served)
            return swap

    async def rollback(
        self, target: str, name: str | None, cause: Cause, detail: str, verdict: Verdict = Verdict.ROLLED_BACK
    ) -> Swap:
        """Take the live version out of production for good, and serve the one before it. Where it is kept warm, that is
        done as soon as the disk has it. Doing it again for the same `name` changes nothing. Raises ApiError.
        """
        slot = self.slots.known(target)
        async with slot.lock:
            live = slot.serving()
            if name is not None and not is_named(live.version, name):
                if name in await asyncio.to_thread(self._catalogue.gone, target):
                    return Swap(live, live.version.name, changed=False)
                raise ApiError(409, "not_live", f"{target}: {live.version.name} is live, not {name[:100]!r}")
            back = slot.previous
            if back is None:
                before = await asyncio.to_thread(self._catalogue.way_back, target, live.version.name)
                back = await self._load(target, before)
            await asyncio.to_thread(self._note_rollback, target, live.version, back.version, cause, detail)
            slot.rollbacks += 1
            self._watch.end(slot, verdict)
            slot.live, slot.previous = back, None
            _hand_on_shadow(live, back)
            slot.refusal = slot.refused_version = None
            self._announce(f"{target}: {live.version.name} rolled back ({cause}), serving {back.version.name}")
            self._let_go(live)
            return Swap(back, live.version.name, changed=True)

    def _note_rollback(self, target: str, gone: Version, back: Version, cause: Cause, detail: str) -> None:
        entry = ServerRollback(
            uuid.uuid4().hex, target, gone.name, gone.model_sha256, back.name, cause, detail, self._now_text()
        )
        try:
            self._rollbacks.append(entry)
        except (OSError, IncumbentError) as error:
            told = f"{target}: the rollback could not be written down, so nothing was rolled back"
            raise ApiError(503, "not_written", told, {"Retry-After": "5"}) from error

    async def unload(self, target: str) -> None:
        """Stop serving a target until it is loaded again, or the server starts anew. Raises ApiError (404)."""
        slot = self.slots.known(target)
        async with slot.lock:
            if slot.live is not None:
                slot.refused_version = slot.live.version.name
                self._announce(f"{target}: {slot.live.version.name} unloaded, nothing is served for it")
            self._watch.end(slot, Verdict.SUPERSEDED)
            self._let_go(slot.live, slot.previous)
            slot.live = slot.previous = None
            slot.refusal = ApiError(503, "not_loaded", "it was unloaded")

    def models(self) -> list[dict[str, Json]]:
        """The live models, for `/models`."""
        return [_listed(slot, slot.live, self._watch.options) for slot in self.slots if slot.live]

    def refusals(self) -> list[dict[str, Json]]:
        """Targets whose last reload was refused, for `/models`."""
        return [
            {
                **_key(slot.target),
                "version": slot.refused_version,
                "code": slot.refusal.code,
                "message": slot.refusal.message,
            }
            for slot in self.slots
            if slot.refusal
        ]

    async def _served(self, slot: Slot, version: Version) -> Served:
        shown = slot.live.shadow if slot.live is not None else None
        for warm in (slot.live, slot.previous, shown.candidate if shown else None):
            if warm is not None and warm.version == version:
                return warm
        return await self._load(slot.target, version)

    async def _load(self, target: str, version: Version) -> Served:
        async with self._loading:
            loaded = await on_leash(
                lambda leash: self._build(version, leash), self._options.load_timeout_s, f"load-{version.name}"
            )
        if loaded.note:
            self._announce(f"{target}: {version.name} {loaded.note}")
        return Served(version, loaded, self._now_text(), Reader(oip_name(target), loaded, self._options.max_rows))

    def _build(self, version: Version, leash: Leash) -> Session:
        """Runs aside, on the leash."""
        if version.interface is None:
            raise refused("no_model_file", f"{version.name} is an external configuration without a model file")
        try:
            data = self._store.read(version.model_sha256, max_bytes=self._options.max_model_mb * 2**20)
        except MissingFileError as error:
            raise refused("missing_file", told_without(self._catalogue.run_dir, error)) from error
        except OversizeFileError as error:
            raise refused("too_large", told_without(self._catalogue.run_dir, error)) from error
        except (DamagedFileError, ValueError) as error:
            raise refused("damaged", told_without(self._catalogue.run_dir, error)) from error
        except UnreadableFileError as error:  # it may pass, so it is no verdict on the version
            raise ApiError(
                503, "unreadable", told_without(self._catalogue.run_dir, error), {"Retry-After": "5"}
            ) from error
        return sessions.build(data, version.interface, self._options.max_rows, leash, self._room)

    def _flip(self, slot: Slot, served: Served, gone: Collection[str]) -> Swap:
        """Serve it. Of whatever takes another's place it is watched whether it is worse, an old version too, but not
        where it is the way back from one that was rolled back, which never returns, nor where it takes the place of a
        canary that came after it: most are served it already, and none of them is to get that canary."""
        before = slot.live
        slot.refusal = slot.refused_version = None
        if served is before:
            return Swap(served, before.version.name, changed=False)
        stays, at_large = before, slot.split.keyless if slot.split is not None else None
        if at_large is not None and at_large is slot.previous and slot.previous is not served:
            stays = slot.previous  # a canary makes room for the next: what most are served stays
        if stays is not None and stays.version.name in gone:
            stays = None
        unused = [other for other in (before, slot.previous) if other is not stays and other is not served]
        self._watch.end(slot, Verdict.SUPERSEDED)
        slot.previous, slot.live = stays, served
        slot.swaps += before is not None
        if before is not None:
            _hand_on_shadow(before, served)
        if stays is not None and served is not at_large:
            self._watch.begin(slot, served, stays)
        name = served.version.name
        self._announce(
            f"{slot.target}: {before.version.name} -> {name}" if before else f"{slot.target}: serving {name}"
        )
        if unused:
            self._let_go(*unused)
        return Swap(served, before.version.name if before else None, changed=True)

    def _let_go(self, *dropped: Served | None) -> None:
        """Free what is served no more, in a thread: nobody waits for that."""
        gone = [served.session for served in dropped if served is not None]

        def free() -> None:
            gone.clear()
            release_memory()

        self._tidying = asyncio.get_running_loop().run_in_executor(None, free)

    def _refuse(self, slot: Slot, name: str | None, error: ApiError) -> None:
        slot.refusal, slot.refused_version = error, name
        kept = f"{slot.live.version.name} keeps serving" if slot.live else "nothing is served for it"
        self._announce(f"{slot.target}: {name or 'the active version'} refused, {kept}: {error.message}")


def _named(version: Version) -> tuple[str, str]:
    return version.name, version.model_sha256


def _hand_on_shadow(before: Served, live: Served) -> None:
    """Requests are shown on, except to a version that now answers them."""
    shadow, before.shadow = before.shadow, None
    goes_on = shadow is not None and shadow.candidate is not live
    live.shadow = shadow if goes_on and before.session.interface == live.session.interface else None


def _key(target: str) -> dict[str, Json]:
    archetype, model_type = target.split("/", 1)
    return {"archetype": archetype, "model_type": model_type}


def _listed(slot: Slot, live: Served, watch: WatchOptions) -> dict[str, Json]:
    interface = live.session.interface
    return {
        **_key(slot.target),
        "version": live.version.name,
        "iteration": live.version.iteration,
        "sha256": live.version.model_sha256,
        "inputs": {name: list(shape) for name, shape in interface.inputs.items()},
        "outputs": {name: list(shape) for name, shape in interface.outputs.items()},
        "loaded_at": live.loaded_at,
        "previous": slot.previous.version.name if slot.previous else None,
        "provider": live.session.provider,
        "requests": live.counts.answered,
        "monitoring": monitoring(slot, watch),
        "shadow": listed(live.shadow) if live.shadow else None,
    }
