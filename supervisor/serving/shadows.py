"""Starts and ends shadows."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from supervisor.serving.engine import Engine
from supervisor.serving.errors import ApiError
from supervisor.serving.shadow import Shadow


class Shadows:
    """One thread for all of them: they may take a core's time, and no more."""

    def __init__(self, engine: Engine, announce: Callable[[str], None], now_text: Callable[[], str]) -> None:
        self._engine, self._announce, self._now_text = engine, announce, now_text
        self._thread: ThreadPoolExecutor | None = None

    async def show(self, target: str, version: str, share: float) -> Shadow:
        """Show the version this share of the target's requests from now on, counted from nothing. Raises ApiError."""
        slot = self._engine.slots.known(target)
        candidate = await self._engine.candidate(target, version)
        live = slot.serving()
        if candidate.version == live.version:
            raise ApiError(409, "is_live", f"{target}: {live.version.name} is live: there is nothing to compare")
        if candidate.session.interface != live.session.interface:
            raise ApiError(409, "unlike", f"{target}: {version[:100]} has other inputs or outputs than what is live")
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "shadow")
        live.shadow = Shadow(candidate, share, self._now_text(), self._thread)
        self._announce(f"{target}: {candidate.version.name} is shown {share:.0%} of the requests")
        return live.shadow

    def hide(self, target: str) -> Shadow | None:
        """End it; what it was, None where there was none. Raises ApiError (404) for a target that is not there."""
        live = self._engine.slots.known(target).live
        if live is None or live.shadow is None:
            return None
        ended, live.shadow = live.shadow, None
        self._announce(f"{target}: {ended.candidate.version.name} is shown no more requests")
        return ended

    def close(self) -> None:
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
