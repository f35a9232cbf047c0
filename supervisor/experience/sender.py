"""For a game server written in Python: hands experiences over to the inference server, and keeps them until they are
stored.

    with ExperienceSender("http://127.0.0.1:8080", client="game-1") as sender:
        sender.add("mage/combat_dqn", state, action, reward, next_state, done, episode="fight-7", step=3)

`add` never waits: a thread sends. Every batch has a key under which the server stores it once, so what got no answer is
sent again: each row arrives, and none twice. What lies here when the game's own process dies is lost with it.
Needs numpy, and of this program only modules that need nothing else either.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from supervisor.experience.intake import frame
from supervisor.experience.steps import Step, body_of, step_of

BATCH_ROWS = 256
CLOSE_S = 30.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0
TRIED_AGAIN = frozenset({408, 429, 500, 502, 503, 504})


class RefusedError(Exception):
    """The server does not take what it was sent, and will not when it is sent again as it is: a wrong token, say. The
    rows are still here."""


@dataclass
class Counts:
    """Of rows, but for `retries`: requests that were sent again."""

    accepted: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)  # by reason
    no_room: int = 0  # not taken by `add`
    retries: int = 0


class ExperienceSender:
    """For several threads at once."""

    def __init__(
        self,
        url: str,
        *,
        client: str = "",
        token: str | None = None,
        batch_rows: int = BATCH_ROWS,
        max_rows: int = 65_536,
        max_delay_s: float = 1.0,
        timeout_s: float = 10.0,
    ) -> None:
        """`url` is the server's, `client` names this game, the same each time. So many rows are sent at once, or those
        that are there after `max_delay_s`; more than `max_rows` are not kept. Raises ValueError for an address that is
        none."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r}: no address of a server; give one like http://127.0.0.1:8080")
        self._path = f"{parts.path.rstrip('/')}/experience"
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=timeout_s)
        self._headers = {"Content-Type": frame.CONTENT_TYPE}
        self._headers |= {"X-Client-Key": client} if client else {}
        self._headers |= {"Authorization": f"Bearer {token}"} if token else {}
        self._batch_rows, self._max_rows, self._max_delay_s = batch_rows, max_rows, max_delay_s
        self._name = secrets.token_hex(8)  # no key of ours is one of an earlier process's
        self._news = threading.Condition()
        self._waiting: list[Step] = []
        self._began_s = 0.0  # when the first of them came
        self._added = self._settled = self._flushed = 0  # rows so far: taken, stored, to be sent without delay
        self._error: RefusedError | None = None
        self._is_stopping = False
        self.counts = Counts()
        self._thread = threading.Thread(target=self._work, name="experience-sender", daemon=True)
        self._thread.start()

    @property
    def waiting_rows(self) -> int:
        """That are not known to be stored."""
        return self._added - self._settled

    def add(
        self,
        target: str,
        state: Any,
        action: Any,
        reward: float,
        next_state: Any,
        done: bool,
        *,
        priority: float = 1.0,
        episode: str | int = 0,
        step: int = 0,
        version: str | int = 0,
        time_s: float | None = None,
    ) -> bool:
        """One step of play; an `action` of several numbers is a continuous one. False where there is no room for it,
        because the server has not taken any for long: it is not kept then. Raises ValueError for what is no row."""
        row = step_of(target, state, action, reward, next_state, done, priority, episode, step, version, time_s)
        with self._news:
            if self._is_stopping:
                raise ValueError("this sender is closed")
            if self.waiting_rows >= self._max_rows:
                self.counts.no_room += 1
                return False
            if not self._waiting:
                self._began_s = time.monotonic()
            self._waiting.append(row)
            self._added += 1
            if len(self._waiting) in (1, self._batch_rows):
                self._news.notify_all()
        return True

    def flush(self, timeout_s: float | None = None) -> None:
        """Return once everything that was added is stored. Raises TimeoutError, and RefusedError where the server does
        not take it; it is kept in either case, and this may be called again."""
        with self._news:
            self._flushed, self._error = self._added, None
            upto = self._added
            self._news.notify_all()
            is_over = self._news.wait_for(lambda: self._settled >= upto or self._error is not None, timeout_s)
            if self._error is not None:
                raise self._error
            if not is_over:
                raise TimeoutError(f"{self.waiting_rows} rows are not stored yet after {timeout_s:g} s")

    def close(self, timeout_s: float | None = CLOSE_S) -> None:
        """Flush, and stop sending. Raises what `flush` does; what is not stored then is lost."""
        try:
            self.flush(timeout_s)
        finally:
            with self._news:
                self._is_stopping = True
                self._news.notify_all()
            self._thread.join()
            self._connection.close()

    def __enter__(self) -> ExperienceSender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # in the thread

    def _work(self) -> None:
        number = 0
        while batch := self._batch():
            number += 1
            if not self._sent(body_of(batch), f"{self._name}-{number}"):
                return
            with self._news:
                self._settled += len(batch)
                self._news.notify_all()

    def _batch(self) -> list[Step]:
        """What is to be sent together; none when it is time to leave."""
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._is_stopping)
            if not self._is_stopping:
                left_s = self._began_s + self._max_delay_s - time.monotonic()
                self._news.wait_for(self._is_due, left_s)
            batch, self._waiting = self._waiting[: self._batch_rows], self._waiting[self._batch_rows :]
            return batch

    def _is_due(self) -> bool:
        return len(self._waiting) >= self._batch_rows or self._settled < self._flushed or self._is_stopping

    def _sent(self, body: bytes, key: str) -> bool:
        """Whether it is stored; it is not where this is closed before."""
        wait_s = FIRST_WAIT_S
        while True:
            status, told = self._asked(body, key)
            if status == 200:
                self.counts.accepted += told["accepted"]
                self.counts.quarantined.update(told["reasons"])
                return True
            with self._news:
                self.counts.retries += 1
                if status in TRIED_AGAIN:
                    self._news.wait_for(lambda: self._is_stopping, wait_s)
                    wait_s = min(2 * wait_s, LONGEST_WAIT_S)
                else:
                    self._error = RefusedError(f"the server answers {status}: {told}")
                    self._news.notify_all()
                    self._news.wait_for(lambda: self._error is None or self._is_stopping)
                if self._is_stopping:
                    return False

    def _asked(self, body: bytes, key: str) -> tuple[int, Any]:
        """Status and answer; 503 where there is none."""
        connection = self._connection
        try:
            connection.request("POST", self._path, body, {**self._headers, "Idempotency-Key": key})
            response = connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException):
            connection.close()  # opened again by the next request
            return 503, None
        with contextlib.suppress(ValueError):
            return response.status, json.loads(data)
        return (503 if response.status == 200 else response.status), data[:300]
