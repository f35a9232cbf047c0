"""Tells the model server what changed, beside the loop: the loop never waits for a server.

`active.json` is written first; a reload only points the server at it. So a delivery may be repeated, come late or get
lost without harm, and one word suffices for several changes of a target.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from supervisor.contract import Json
from supervisor.registry.active import ActiveFile, DamagedActiveError
from supervisor.registry.client import Answer, NoAnswerError, ServerClient
from supervisor.registry.store import UnreadableFileError

BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
CLOSE_LIMIT_S = 1.0  # `active.json` is written: what is not delivered by then is found when the run starts again
TELL_AFTER = 5  # failures running: a server that starts beside the supervisor needs a moment

Report = Callable[[str, str], None]
"""Called with (event, reason) on the delivery's thread; must not raise."""


def behind(active: ActiveFile, models: Mapping[str, Json]) -> dict[str, str]:
    """Targets whose live version, as `/models` answered, is not the active one; with the version they should serve."""
    listed = models.get("models")
    live = {
        (f"{model.get('archetype')}/{model.get('model_type')}", model.get("version"), model.get("sha256"))
        for model in (listed if isinstance(listed, list) else [])
        if isinstance(model, dict)
    }
    return {
        target: entry.version
        for target, entry in active.targets.items()
        if entry.interface is not None and (target, entry.version, entry.model_sha256) not in live
    }


class ReloadDelivery:
    """A background thread that delivers reloads, and after every silence compares what is live with `active.json`.

    `folder_id` is the run folder's own: a server that answers for another folder is left alone.
    """

    def __init__(self, run_dir: Path, client: ServerClient, folder_id: str, report: Report) -> None:
        self._run_dir = run_dir
        self._client = client
        self._folder_id = folder_id
        self._report = report
        self._changed = threading.Condition()
        self._pending: dict[str, str] = {}
        self._compared = False
        self._failures = 0
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="reload-delivery", daemon=True)
        self._thread.start()

    def changed(self, target: str, version: str) -> None:
        """The target's version with a model file has changed in `active.json`. Returns at once."""
        with self._changed:
            self._pending[target] = version
            self._changed.notify()

    def close(self, timeout_s: float = CLOSE_LIMIT_S) -> dict[str, str]:
        """Deliver what waits, once more if the server was silent, for no longer than `timeout_s`; what is left."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        with self._changed:
            return dict(self._pending)

    def _work(self) -> None:
        while True:
            self._round()
            with self._changed:
                if self._closing and (self._failures or not self._pending):
                    return
                if self._failures:
                    # A new change does not shorten the wait, closing does.
                    pause_s = BACKOFF_S[min(self._failures, len(BACKOFF_S)) - 1]
                    self._changed.wait_for(lambda: self._closing, timeout=pause_s)
                else:
                    self._changed.wait_for(lambda: self._pending or self._closing)

    def _round(self) -> None:
        """One attempt at everything that waits."""
        try:
            if not self._compared:
                self._compare()
            while waiting := self._next():
                self._deliver(*waiting)
        except NoAnswerError as error:
            self._compared = False
            self._failures += 1
            if self._failures == TELL_AFTER:
                self._say_silent(str(error))
        else:
            self._failures = 0

    def _next(self) -> tuple[str, str] | None:
        with self._changed:
            return next(iter(sorted(self._pending.items())), None)

    def _compare(self) -> None:
        health = self._client.get("/health")
        if health.body.get("folder_id") != self._folder_id:
            raise NoAnswerError(f"port {self._client.port} answers for another run folder")
        try:
            active = ActiveFile.read(self._run_dir) or ActiveFile()
        except DamagedActiveError as error:
            self._report("active_damaged", str(error))
            active = ActiveFile()
        except UnreadableFileError as error:  # it may pass: asked again as if the server had not answered
            raise NoAnswerError(str(error)) from error
        models = self._client.get("/models")
        with self._changed:
            self._pending = behind(active, models.body) | self._pending
        self._compared = True

    def _deliver(self, target: str, version: str) -> None:
        answer = self._client.reload(target)
        if answer.status >= 500:
            raise NoAnswerError(f"reload of {target}: {answer.error}")
        if answer.status != 200:
            self._report("reload_refused", f"{target} {version}: {answer.error}; the server keeps what it had")
        self._forget(target, version, answer)

    def _forget(self, target: str, version: str, answer: Answer) -> None:
        with self._changed:
            if self._pending.get(target) != version:
                return  # changed again meanwhile: it is delivered again
            live = answer.body.get("version")
            del self._pending[target]
        if answer.status == 200 and live != version:
            self._report("reload_mismatch", f"{target}: {version} was told, the server answers with {live}")

    def _say_silent(self, reason: str) -> None:
        with self._changed:
            waiting = sorted(self._pending)
        if waiting:
            names = ", ".join(waiting)
            self._report("server_silent", f"{reason}; {names}: loaded as soon as a server answers (incumbent serve)")
