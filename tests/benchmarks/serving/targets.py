"""What issue 5 asks of the server, beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.benchmarks.serving.form import OIP_BINARY, OIP_JSON, PLAIN, RAW, Form
from tests.benchmarks.serving.table import Row, Table

OURS = "ours"
BATCH = 128
MANY_MODELS = 54


@dataclass
class Extra:
    """What is measured besides the table."""

    half_load_p99_ms: dict[str, float] = field(default_factory=dict)  # by form
    models_ratio: float | None = None  # rate of mixed traffic by the rate of traffic for one model


@dataclass(frozen=True)
class Target:
    """`least`: the measured value must be at least the limit, else at most."""

    text: str
    value: float | None
    limit: float
    least: bool = True

    def __str__(self) -> str:
        if self.value is None:
            return f"  not measured  {self.text}"
        met = self.value >= self.limit if self.least else self.value <= self.limit
        bound = f"{'at least' if self.least else 'at most'} {self.limit:g}"
        return f"  {'met' if met else 'NOT met':12}  {self.text}: {self.value:.3g} ({bound})"


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def _cpu_us(row: Row | None) -> float | None:
    return row.cpu_us if row else None


def targets(table: Table, extra: Extra, connections: int) -> Iterator[Target]:
    """For batch 1 at that many connections."""

    def ours(form: Form) -> Row | None:
        return table.find(OURS, form.name, 1, connections)

    at = f"batch 1, {connections} connections"
    for form in (OIP_BINARY, RAW):
        row = ours(form)
        yield Target(f"{form.name}, {at}: share of the raw loop's rate", row.share if row else None, 0.5)
    yield from _against_peers(table, connections)
    binary = ours(OIP_BINARY)
    cpu = _ratio(_cpu_us(binary), _cpu_us(ours(RAW)))
    yield Target(f"CPU of OIP binary by CPU of a bare body, {at}", cpu, 1.2, least=False)
    for form in (OIP_BINARY, RAW):
        batch = table.fastest(OURS, form.name, BATCH)
        time_ratio = 1 / batch.share if batch else None
        yield Target(f"{form.name}, batch {BATCH}: time by session.run's", time_ratio, 1.6, least=False)
    for form in (OIP_BINARY, RAW, OIP_JSON, PLAIN):
        p99_ms = extra.half_load_p99_ms.get(form.name)
        yield Target(f"{form.name}: p99 at half load, ms", p99_ms, 5, least=False)
    yield Target(f"{MANY_MODELS} models, mixed traffic: rate by that of one model", extra.models_ratio, 0.9)


def _against_peers(table: Table, connections: int) -> Iterator[Target]:
    """A peer's cheapest form against our OIP binary: what a client gains that changes its server."""
    binary = table.find(OURS, OIP_BINARY.name, 1, connections)
    for side, limit in (("MLServer", 10.0), ("LitServe", 20.0), ("BentoML", 20.0), ("Triton", 2.0)):
        theirs = table.cheapest(side, 1, connections)
        form = f" ({theirs.form})" if theirs else ""
        text = f"CPU of a request of {side}{form} by that of our OIP binary"
        yield Target(text, _ratio(_cpu_us(theirs), _cpu_us(binary)), limit)
    triton = table.find("Triton", OIP_BINARY.name, 1, connections)
    rates = _ratio(binary.per_s if binary else None, triton.per_s if triton else None)
    yield Target("requests/s, OIP binary, by Triton's", rates, 1.0)


def same_form(table: Table, connections: int) -> Iterator[str]:
    """CPU of a request in the form that the peer speaks too, which no target is set for."""
    pairs = (
        ("MLServer", OIP_JSON, OIP_JSON),
        ("LitServe", PLAIN, PLAIN),
        ("BentoML", PLAIN, PLAIN),
        ("Triton", OIP_JSON, OIP_JSON),
        ("Triton", OIP_BINARY, OIP_BINARY),
    )
    for side, theirs, mine in pairs:
        above, below = table.find(side, theirs.name, 1, connections), table.find(OURS, mine.name, 1, connections)
        if above and below:
            cpu, rate = above.cpu_us / below.cpu_us, below.per_s / above.per_s
            yield f"  {side:9} {theirs.name:10}  CPU per request {cpu:.1f} times ours, rate {rate:.1f} times lower"
