"""Live play: fights of the arena through the inference server, as a game server would play them.

Each client asks for the actions of its own fights, now and then does something else to explore, hands every step over
as an experience and says how each fight ended. So one machine has the whole circle: play, store, train, promote,
reload, play.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from types import FrameType

import numpy as np
from numpy.typing import NDArray

from supervisor.errors import StorageUnreachableError, UsageError
from supervisor.experience.sender import ExperienceSender, RefusedError
from supervisor.tasks import LiveItem, LivePlayed, LiveResult, LiveTask
from trainers.jobs.job import main, say
from trainers.jobs.live_client import Choice, LiveClient, NotServedError
from trainers.jobs.live_worlds import open_world

WAIT_FOR_MODEL_S = 1.0
CLOSE_S = 30.0


class Stop:
    """Asked to by a signal."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        self.asked = True


class Table:
    """One target's fights, shared out among clients; a version that changes in the midst of a fight has not played
    it."""

    def __init__(self, item: LiveItem, task: LiveTask, sender: ExperienceSender) -> None:
        self.target = item.target
        self.steps = 0
        self.fights: Counter[str] = Counter()
        self.score: defaultdict[str, float] = defaultdict(float)
        rows = task.clients * task.fights
        self._world = open_world(item.target, rows, item.level, item.seed)
        self._clients = [
            LiveClient(task.host, task.port, f"live-{item.seed % 10**6}-{number}") for number in range(task.clients)
        ]
        self._share = [slice(n * task.fights, (n + 1) * task.fights) for n in range(task.clients)]
        self._sender = sender
        self._rng = np.random.Generator(np.random.Philox(key=item.seed))
        self._exploration = task.exploration
        self._episodes = item.seed + np.arange(rows, dtype=np.int64)
        self._ticks = np.zeros(rows, np.int64)
        self._played_by: list[set[str]] = [set() for _ in range(rows)]
        self._inputs: dict[str, int] = {}

    def play(self) -> int:
        """One tick of all fights; how many steps that were, none where the target is not served yet."""
        seen = self._world.environment.observation
        try:
            self._inputs = self._inputs or self._clients[0].inputs_of(self.target)
            choices = [
                client.choose(self.target, self._split(seen[share]))
                for client, share in zip(self._clients, self._share, strict=True)
            ]
        except NotServedError:
            self._inputs = {}
            return 0
        actions = np.concatenate([choice.actions for choice in choices])
        explores = self._rng.random(len(actions)) < self._exploration
        actions = np.where(explores, self._rng.integers(0, self._world.actions, len(actions)), actions)
        outcome = self._world.environment.step(actions)
        self._hand_over(seen, actions, outcome.reward, outcome.observation, outcome.done, choices)
        self._close_fights(outcome.done, outcome.score, choices)
        self.steps += len(actions)
        return len(actions)

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def _split(self, rows: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """What is seen, side by side, as the model's inputs."""
        ends = np.cumsum(list(self._inputs.values()))[:-1]
        parts = np.split(rows, ends, axis=1)
        return {name: np.ascontiguousarray(part) for name, part in zip(self._inputs, parts, strict=True)}

    def _hand_over(
        self,
        seen: NDArray[np.float32],
        actions: NDArray[np.int64],
        rewards: NDArray[np.float32],
        after: NDArray[np.float32],
        done: NDArray[np.bool_],
        choices: list[Choice],
    ) -> None:
        for share, choice in zip(self._share, choices, strict=True):
            for row in range(share.start, share.stop):
                self._played_by[row].add(choice.version)
                self._sender.add(
                    self.target,
                    seen[row],
                    int(actions[row]),
                    float(rewards[row]),
                    after[row],
                    bool(done[row]),
                    episode=int(self._episodes[row]),
                    step=int(self._ticks[row]),
                    version=choice.version,
                )
        self._ticks += 1

    def _close_fights(self, done: NDArray[np.bool_], score: NDArray[np.float32], choices: list[Choice]) -> None:
        for number, share in enumerate(self._share):
            ended = [row for row in range(share.start, share.stop) if done[row]]
            whole = [(next(iter(self._played_by[row])), float(score[row])) for row in ended if self._by_one(row)]
            for version, won in whole:
                self.fights[version] += 1
                self.score[version] += won
            if whole:
                with contextlib.suppress(NotServedError):  # a version that is gone meanwhile
                    self._clients[number].report(self.target, whole)
        rows = len(self._episodes)
        for row in np.flatnonzero(done):
            self._episodes[row] += rows
            self._ticks[row] = 0
            self._played_by[row].clear()

    def _by_one(self, row: int) -> bool:
        return len(self._played_by[row]) == 1


def work(task: LiveTask) -> LiveResult:
    stop, began_s = Stop(), time.monotonic()
    url = f"http://{task.host}:{task.port}"
    sender = ExperienceSender(url, client=f"live-{os.getpid()}")
    tables = [Table(item, task, sender) for item in task.items]
    try:
        for _ in _paced(task, tables, stop, began_s):
            played = sum(table.play() for table in tables)
            if not played:
                time.sleep(WAIT_FOR_MODEL_S)
    except StorageUnreachableError:
        say("the model server is gone; what was played and not taken by then is lost")
        raise
    finally:
        with contextlib.suppress(TimeoutError):  # what was not taken is said in the result
            _flush(sender)
        for table in tables:
            table.close()
    lost = sender.waiting_rows + sender.counts.no_room
    refused = sum(sender.counts.quarantined.values())
    return LiveResult(
        tuple(_summary(table) for table in tables), sender.counts.accepted, refused, lost, time.monotonic() - began_s
    )


def _flush(sender: ExperienceSender) -> None:
    """Raises UsageError where the server takes no experiences at all."""
    try:
        sender.flush(CLOSE_S)
    except RefusedError as error:
        raise UsageError(f"the server does not take experiences: {error}") from error


def _paced(task: LiveTask, tables: list[Table], stop: Stop, began_s: float) -> Iterator[None]:
    """Ticks until it is over, no faster than the rate, and a line now and then."""
    next_line_s = began_s + task.say_every_s
    due_s = began_s
    while not stop.asked:
        now_s = time.monotonic()
        steps = sum(table.steps for table in tables)
        if (task.steps is not None and steps >= task.steps) or (
            task.seconds is not None and now_s - began_s >= task.seconds
        ):
            return
        if now_s >= next_line_s:
            next_line_s += task.say_every_s
            for table in tables:
                say(line_for_people(table))
        if now_s < due_s:
            time.sleep(min(due_s - now_s, 0.2))
            continue
        yield
        rows = sum(table.steps for table in tables) - steps
        due_s = max(due_s, now_s - 1.0) + rows / task.rate  # what was missed is not made up for beyond a second


def line_for_people(table: Table) -> str:
    """What became of the target's fights by now, by version."""
    versions = [
        f"{version} won {100 * table.score[version] / fights:.1f} % of {fights:,}"
        for version, fights in sorted(table.fights.items())[-3:]
    ]
    return f"{table.target}: {table.steps:,} steps; {', '.join(versions) or 'no fight has ended yet'}"


def _summary(table: Table) -> LivePlayed:
    score = {version: table.score[version] / fights for version, fights in table.fights.items()}
    return LivePlayed(table.target, table.steps, dict(table.fights), score)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], LiveTask, work))
