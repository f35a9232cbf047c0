"""The run: every side in turn against the same generator."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.serving import subject
from tests.benchmarks.serving.floor import Floor, floor
from tests.benchmarks.serving.form import OIP_BINARY, OURS, PLAIN, RAW, Form
from tests.benchmarks.serving.generator import Met
from tests.benchmarks.serving.load import load
from tests.benchmarks.serving.ours import nothing_server, our_server, targets
from tests.benchmarks.serving.peers import PEERS, TARGET, Peer
from tests.benchmarks.serving.quiet import least_disturbed
from tests.benchmarks.serving.running import Running
from tests.benchmarks.serving.table import Row, Table
from tests.benchmarks.serving.targets import BATCH, MANY_MODELS, Extra
from tests.support.foreign_server import NotAnsweredError

CEILING = "server of nothing"
BATCH_CONNECTIONS = (1, 4)
MIXED_TURNS = 3  # of one model and of all, in turn: the machine's speed drifts


@dataclass
class Bench:
    """`only`: names of the sides to measure, empty for all. `tries`: of each measurement, where others disturb it."""

    seconds: float
    connections: Sequence[int]
    only: frozenset[str]
    peers: Path | None
    tries: int
    table: Table = field(default_factory=Table)
    extra: Extra = field(default_factory=Extra)
    floors: dict[int, Floor] = field(default_factory=dict)

    @property
    def typical(self) -> int:
        """The number of connections that the targets speak of, or the nearest."""
        return min(self.connections, key=lambda connections: abs(connections - 64))

    def run(self) -> None:
        self._guarded("generator", CEILING, self._measure_ceiling)
        self._guarded("ours", "ours", self._measure_ours)
        self._guarded("models", f"{MANY_MODELS} models", self._measure_many_models)
        for peer in PEERS if self.peers else ():
            self._guarded(peer.name, peer.title, functools.partial(self._measure_peer, peer))
        self._measure_floors()

    def _guarded(self, name: str, title: str, measure: Callable[[], None]) -> None:
        """A side that cannot be measured says so and the others go on."""
        if not self.only or name in self.only:
            self._measure_floors()
            try:
                measure()
            except NotAnsweredError as error:
                print(f"{title}: {error}", flush=True)

    def _measure_floors(self) -> None:
        """Before each side and at the end: a shared machine's speed drifts, and a share is of the last floor."""
        for rows in (1, BATCH):
            self.floors[rows] = least_disturbed(functools.partial(floor, rows, self.seconds), self.tries)
            self.table.add_floor(self.floors[rows])

    def _measure_ceiling(self) -> None:
        request = RAW.request(subject.states(1), TARGET)
        with nothing_server(len(request)) as server:
            for connections in self.connections:
                self._add(server, CEILING, "", request, 1, connections)
            self._measure_half_load(server, CEILING, "", request)

    def _measure_ours(self) -> None:
        with our_server() as server:
            for form in OURS:
                with self._said("ours", form):
                    self._measure_form(server, "ours", form, targets(1)[0])
                    request = form.request(subject.states(1), targets(1)[0])
                    row = self._measure_half_load(server, "ours", form.name, request)
                    self.extra.half_load_p99_ms[form.name] = row.p99_ms

    def _measure_peer(self, peer: Peer) -> None:
        assert self.peers
        with peer.server(self.peers) as server:
            for form in peer.forms:
                with self._said(peer.title, form):
                    self._measure_form(server, peer.title, form, TARGET)

    @contextlib.contextmanager
    def _said(self, side: str, form: Form) -> Iterator[None]:
        try:
            yield
        except NotAnsweredError as error:
            print(f"{side}, {form.name}: {error}", flush=True)

    def _measure_form(self, server: Running, side: str, form: Form, target: str) -> None:
        plan = [(1, connections) for connections in self.connections]
        plan += [(BATCH, connections) for connections in BATCH_CONNECTIONS]
        for rows, connections in plan:
            server.check(form, target, rows)
            self._add(server, side, form.name, form.request(subject.states(rows), target), rows, connections)

    def _add(self, server: Running, side: str, form: str, request: bytes, rows: int, connections: int) -> None:
        met = self._load(server, [request], connections)
        self.table.add(Row.of(side, form, rows, connections, met, self.floors[rows], server.rss_mb()))
        if met.failed:
            print(f"    failed: {met.first_failure[:200]!r}")

    def _load(
        self, server: Running, requests: Sequence[bytes], connections: int, rate_per_s: float | None = None
    ) -> Met:
        return least_disturbed(lambda: load(server, requests, connections, self.seconds, rate_per_s), self.tries)

    def _measure_half_load(self, server: Running, side: str, form: str, request: bytes) -> Row:
        """Requests that fall due at half of the greatest rate, whether or not the server keeps up."""
        fastest = self.table.fastest(side, form, 1)
        assert fastest
        met = self._load(server, [request], self.typical, fastest.per_s / 2)
        row = Row.of(f"{side} half load", form, 1, self.typical, met, self.floors[1], server.rss_mb())
        self.table.add(row)
        return row

    def _measure_many_models(self) -> None:
        with our_server(MANY_MODELS) as server:
            names = targets(MANY_MODELS)
            form = _first_answered(server, (OIP_BINARY, RAW, PLAIN), names[0])
            requests = [form.request(subject.states(1), name) for name in names]
            rates = {1: 0.0, MANY_MODELS: 0.0}
            for _ in range(MIXED_TURNS):
                for models in rates:
                    met = self._load(server, requests[:models], self.typical)
                    side = f"{models} of {MANY_MODELS} models"
                    row = Row.of(side, form.name, 1, self.typical, met, self.floors[1], server.rss_mb())
                    self.table.add(row)
                    rates[models] += row.per_s
            self.extra.models_ratio = rates[MANY_MODELS] / rates[1]


def _first_answered(server: Running, forms: Sequence[Form], target: str) -> Form:
    """Raises NotAnsweredError where the last is not answered either."""
    for form in forms[:-1]:
        with contextlib.suppress(NotAnsweredError):
            server.check(form, target, rows=1)
            return form
    server.check(forms[-1], target, rows=1)
    return forms[-1]
