"""Scorecards as a table: a line per target, for a terminal or as Markdown. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from supervisor.contract import Json, Score, ScoreCard
from supervisor.record import Record

TITLES = (
    "target",
    "untrained",
    "trained",
    "gain (95 %)",
    "at level 1 (95 %)",
    "baseline",
    "parameters",
    "ms per 1,000 steps",
    "export difference",
    "ms at batch 1, 128",
)


@dataclass(frozen=True)
class Row:
    """One target. No card: there is no version to examine. `line` is the one that made the version."""

    target: str
    card: ScoreCard | None
    line: Record | None


@dataclass(frozen=True)
class Table:
    """`games` per measurement and side."""

    rows: tuple[Row, ...]
    games: int
    scale: str


def as_text(table: Table) -> str:
    """Columns that line up, for a terminal or a pipe."""
    return columns([TITLES, *(_cells(row) for row in table.rows)])


def columns(lines: Sequence[Sequence[str]]) -> str:
    """The first column to the left, the others to the right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    )


def as_markdown(table: Table) -> str:
    """The same as a Markdown table, with what was measured in a line above it."""
    lines = [TITLES, ("---", *("---:",) * (len(TITLES) - 1)), *(_cells(row) for row in table.rows)]
    return "\n".join([*("| " + " | ".join(line) + " |" for line in lines), "", summary(table), ""])


def summary(table: Table) -> str:
    """How many learnt, and how many are better than their baseline."""
    cards = [row.card for row in table.rows if row.card is not None]
    learnt, over = sum(card.learnt for card in cards), sum(card.over_the_bar for card in cards)
    return (
        f"{learnt} of {len(table.rows)} are better than their untrained selves beyond doubt, {over} better than their"
        f" baseline (95 % intervals over {table.games} games or situations each, scale {table.scale})"
    )


def _cells(row: Row) -> tuple[str, ...]:
    card = row.card
    if card is None:
        reason = "was not trained" if row.line is None else str(row.line.reason)
        return (row.target, "-", reason, *("-",) * (len(TITLES) - 3))
    latency = card.latency_ms
    return (
        row.target,
        _percent(card.untrained.rate),
        _percent(card.trained.rate),
        f"{card.gain * 100:+.1f} ({card.gain_low * 100:+.1f} to {card.gain_high * 100:+.1f})",
        _with_interval(card.first_level),
        f"{_percent(card.bar)} {card.bar_name}",
        f"{card.parameters:,}",
        _of(_time(row.line, "training_step_s"), 1e6, ".1f"),
        _of(
            row.line.guards["onnx_difference"].value if row.line and "onnx_difference" in row.line.guards else None,
            1,
            ".0e",
        ),
        f"{latency['batch_1']:.2f}, {latency['batch_128']:.2f}",
    )


def _percent(rate: float) -> str:
    return f"{rate * 100:.1f}"


def _with_interval(score: Score) -> str:
    return f"{_percent(score.rate)} ({_percent(score.low)} to {_percent(score.high)})"


def _time(line: Record | None, name: str) -> float | None:
    """One of the latencies that the line keeps beside what is compared."""
    latency: Json = line.time.get("latency") if line is not None and isinstance(line.time, Mapping) else None
    value = latency.get(name) if isinstance(latency, Mapping) else None
    return float(value) if isinstance(value, int | float) else None


def _of(value: float | None, factor: float, form: str) -> str:
    return "-" if value is None else f"{value * factor:{form}}"
