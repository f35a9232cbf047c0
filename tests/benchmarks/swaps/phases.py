"""The parts of the measurement: a load, what changes during it, and the judgement of both."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

from tests.benchmarks.swaps import judging
from tests.benchmarks.swaps.asking import Asking, Log
from tests.benchmarks.swaps.changes import RELOAD, ROLLBACK, Change, Changer
from tests.benchmarks.swaps.disk import Disk
from tests.benchmarks.swaps.judging import Faults, Marks, Times

DISK_PAUSE_S = 0.05
Order = tuple[str, str]  # kind, version


class OrderFailedError(Exception):
    """The server did not do what it was told to; what is live is no longer known."""


@dataclass(frozen=True)
class Phase:
    """One part, measured. `beside`: answers that were under way while a change was."""

    name: str
    requests: int
    seconds: float
    faults: Faults
    all: Times
    beside: Times
    acks: dict[str, Times]  # by kind of order
    others_cores: float
    first_fault: str

    @classmethod
    def of(cls, name: str, log: Log, changes: Sequence[Change], stale: Marks, in_turn: bool = True) -> Phase:
        near = judging.beside(log, changes if in_turn else [])
        kinds = sorted({change.kind for change in changes})
        return cls(
            name=name,
            requests=len(log.versions),
            seconds=log.seconds,
            faults=judging.faults(log, stale),
            all=Times.of(log.latency_ms),
            beside=Times.of(log.latency_ms[near]),
            acks={kind: Times.of([it.took_ms for it in changes if it.kind == kind]) for kind in kinds},
            others_cores=log.others_cores,
            first_fault=(log.faults or ("",))[0],
        )


def control(name: str, asking: Asking, live: str, seconds: float, disk: Disk) -> Phase:
    """Nothing changes; meanwhile the disk is asked what it takes."""
    with asking.under_load() as asked:
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            disk.append()
            time.sleep(DISK_PAUSE_S)
    assert asked.log is not None
    return Phase.of(name, asked.log, [], judging.stale_in_turn(asked.log, live, []))


def changing(name: str, asking: Asking, live: str, orders: Sequence[Order], seconds: float) -> Phase:
    """All orders, one after the other, at even pace. Raises OrderFailedError."""
    changes: list[Change] = []
    with asking.under_load() as asked, Changer(asking.port) as changer:
        begun_s = time.monotonic()
        for number, (kind, version) in enumerate(orders):
            time.sleep(max(0.0, begun_s + number * seconds / len(orders) - time.monotonic()))
            changes.append(changed(changer, kind, version))
        time.sleep(max(0.0, begun_s + seconds - time.monotonic()))
    assert asked.log is not None
    return Phase.of(name, asked.log, changes, judging.stale_in_turn(asked.log, live, changes))


def changed(changer: Changer, kind: str, version: str) -> Change:
    """Raises OrderFailedError where it changed nothing."""
    change = changer.order(kind, version)
    if not change.changed or (kind == RELOAD and change.live != version):
        raise OrderFailedError(f"{kind} of {version}: {change.status} {change.body}")
    return change


def in_turn(versions: Sequence[str], count: int) -> list[Order]:
    """Reloads of one version after the other, the first of them being live. Two are both kept warm by the server; of
    three each has to be built anew."""
    turns: Iterator[str] = cycle([*versions[1:], versions[0]])
    return [(RELOAD, next(turns)) for _ in range(count)]


def there_and_back(versions: Sequence[str]) -> list[Order]:
    """Each of them is loaded and rolled back, for good."""
    return [(kind, version) for version in versions for kind in (RELOAD, ROLLBACK)]
