"""Several clients that order at once, each other's orders again and against each other: whether what the server
answered, said and wrote down tells one and the same story."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from supervisor.registry import server_rollbacks
from tests.benchmarks.swaps.changes import RELOAD, ROLLBACK, Change, Changer
from tests.support.served_folder import TARGET
from tests.support.server_process import ServerProcess

CLIENTS = 8
REFUSALS = {RELOAD: {"rolled_back"}, ROLLBACK: {"not_live", "no_way_back"}}
SAID_S = 5.0  # for the last line on the console

_SAID = re.compile(rf"{TARGET}: (?P<before>\S+) (?:-> (?P<to>\S+)|rolled back \(manual\), serving (?P<back>\S+))$")

Step = tuple[str, str, str]  # kind, version before, version after


@dataclass(frozen=True)
class Storm:
    """`disagreements` says in sentences where the stories differ."""

    changes: Sequence[Change]
    disagreements: Sequence[str]

    @property
    def gone_s(self) -> dict[str, float]:
        """When it was acknowledged that a version was rolled back."""
        return {change.body["before"]: change.acked_s for change in self.changes if _is_rollback(change)}

    def __str__(self) -> str:
        answers = Counter(f"{change.kind} {_outcome(change)}" for change in self.changes)
        told = ", ".join(f"{count} {answer}" for answer, count in sorted(answers.items()))
        return f"{len(self.changes)} orders of {CLIENTS} clients at once: {told}"


def storm(server: ServerProcess, versions: Sequence[str], orders: int) -> Storm:
    """Each client gives that many orders; the versions are all that they ask for."""
    said_before, live = len(_said(server)), _live(server)
    gone_before = len(server_rollbacks.read(server.run_dir).entries)
    with ThreadPoolExecutor(CLIENTS) as pool:
        # Neighbours order the same in the same order, all others something else.
        seeds = [client // 2 for client in range(CLIENTS)]
        met = list(pool.map(lambda seed: _client(server.port, versions, orders, seed), seeds))
    changes = [change for of_client in met for change in of_client]
    changed = [change for change in changes if change.changed]
    until_s = time.monotonic() + SAID_S
    while len(said := _said(server)[said_before:]) < len(changed) and time.monotonic() < until_s:
        time.sleep(0.01)
    written = [entry.version for entry in server_rollbacks.read(server.run_dir).entries[gone_before:]]
    found = [
        *_check_answers(changes),
        *_check_story(said, changed, written, live, _live(server)),
        *_check_gone(server, {*written}),
    ]
    return Storm(changes, found)


def _client(port: int, versions: Sequence[str], orders: int, seed: int) -> list[Change]:
    choose, changes = random.Random(seed), list[Change]()
    live = versions[0]
    with Changer(port) as changer:
        for _ in range(orders):
            kind = choose.choices((RELOAD, ROLLBACK), (3, 1))[0]
            if kind == RELOAD:
                change = changer.order(RELOAD, choose.choice(versions))
            else:  # of whatever is live, or of what it was when this client last heard
                change = changer.order(ROLLBACK, choose.choice((None, live)))
            live = change.live if change.status == 200 else live
            changes.append(change)
    return changes


def _check_answers(changes: Iterable[Change]) -> Iterable[str]:
    for change in changes:
        if change.status != 200 and change.code not in REFUSALS[change.kind]:
            yield f"{change.kind} of {change.asked} was answered {change.status} {change.body}"
        elif change.kind == RELOAD and change.status == 200 and change.live != change.asked:
            yield f"a reload of {change.asked} was answered with {change.live}"


def _check_story(
    said: Sequence[Step], changed: Sequence[Change], written: Sequence[str], first: str, last: str
) -> Iterable[str]:
    live, gone = first, list[str]()
    for kind, before, after in said:
        if before != live:
            yield f"{kind} went from {before} where {live} was live"
        if kind == ROLLBACK:
            gone.append(before)
        if after in gone:
            yield f"{after} came back after it was rolled back"
        live = after
    if live != last:
        yield f"{last} is live, and the last change made {live} so"
    if Counter(said) != Counter((change.kind, change.body["before"], change.live) for change in changed):
        yield "the changes that were acknowledged are not those that were made"
    if written != gone:
        yield f"rollbacks.jsonl names {written}, rolled back were {gone}"


def _check_gone(server: ServerProcess, gone: Iterable[str]) -> Iterable[str]:
    with Changer(server.port) as changer:
        for version in sorted(gone):
            if changer.order(RELOAD, version).code != "rolled_back":
                yield f"{version} was rolled back and could be loaded again"


def _said(server: ServerProcess) -> list[Step]:
    """Every change, in the order in which the event loop made it."""
    found = (_SAID.match(line) for line in list(server.lines))
    return [
        (RELOAD if step["to"] else ROLLBACK, step["before"], step["to"] or step["back"])
        for step in found
        if step is not None
    ]


def _live(server: ServerProcess) -> str:
    return str(server.get("/models").body["models"][0]["version"])


def _is_rollback(change: Change) -> bool:
    return change.kind == ROLLBACK and change.changed


def _outcome(change: Change) -> str:
    if change.status != 200:
        return f"refused ({change.code})"
    return "done" if change.changed else "done already"
