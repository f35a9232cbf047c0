"""`incumbent store stats` and `incumbent store doctor`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime

import typer

from supervisor.commands.store import Opened, opened
from supervisor.commands.storeoptions import StoreOptions
from supervisor.contract import Json
from supervisor.experience.caretaker import Overview
from supervisor.experience.finding import Finding, Severity
from supervisor.experience.lag import Lag, lags
from supervisor.experience.rows import MICROSECONDS
from supervisor.experience.store import TargetStats

MIB = 2**20
MARKS = {Severity.OK: "ok  ", Severity.NOTE: "note", Severity.WRONG: "BAD "}


def show_stats(options: StoreOptions, now_us: int, as_json: bool) -> int:
    """What the store holds, and how far its readers are."""
    with opened(options) as it:
        targets, overview, behind = it.store.stats(), it.caretaker.overview(now_us), lags(it.store)
        if as_json:
            typer.echo(json.dumps(_as_json(it, targets, overview, behind, now_us), indent=2))
        else:
            typer.echo("\n".join(_as_text(it, targets, overview, behind, now_us)))
    return 0


def show_findings(options: StoreOptions, now_us: int, as_json: bool) -> int:
    """Print every finding; 1 when something is wrong."""
    with opened(options) as it:
        findings = it.caretaker.findings(now_us)
        wrong = any(finding.severity is Severity.WRONG for finding in findings)
        if as_json:
            body = {"store": it.name, "ok": not wrong, "findings": [vars(finding) for finding in findings]}
            typer.echo(json.dumps(body, indent=2))
        else:
            typer.echo("\n".join(_line(finding) for finding in findings))
    return int(wrong)


def _line(finding: Finding) -> str:
    line = f"{MARKS[finding.severity]}  {finding.code:16s} {finding.what}"
    return f"{line}\n      {'':16s} -> {finding.cure}" if finding.cure else line


def _as_json(
    it: Opened, targets: Sequence[TargetStats], overview: Overview, behind: Sequence[Lag], now_us: int
) -> dict[str, Json]:
    return {
        "store": it.name,
        "bytes": overview.bytes,
        "targets": [
            {
                "target": target.target,
                "rows": target.rows,
                "oldest": moment(target.oldest_us),
                "newest": moment(target.newest_us),
                "rows_last_hour": overview.rows_last_hour.get(target.target, 0),
                "bytes": overview.target_bytes.get(target.target, 0),
            }
            for target in targets
        ],
        "quarantine": dict(overview.quarantine),
        "readers": [
            {
                "name": lag.reader.name,
                "target": lag.reader.target,
                "position": str(lag.reader.position),
                "seen": moment(lag.reader.seen_us),
                "lag_rows": lag.rows,
                "lag_s": _seconds(lag, now_us),
            }
            for lag in behind
        ],
    }


def _as_text(
    it: Opened, targets: Sequence[TargetStats], overview: Overview, behind: Sequence[Lag], now_us: int
) -> list[str]:
    lines = [f"{it.name}: {sum(target.rows for target in targets)} rows, {overview.bytes / MIB:.1f} MiB"]
    if targets:
        lines.append(f"{'target':32} {'rows':>10} {'last hour':>10} {'MiB':>9}  oldest                newest")
    for target in targets:
        hour, held = overview.rows_last_hour.get(target.target, 0), overview.target_bytes.get(target.target, 0)
        span = f"{moment(target.oldest_us)}  {moment(target.newest_us)}"
        lines.append(f"{target.target:32} {target.rows:>10} {hour:>10} {held / MIB:>9.1f}  {span}")
    lines += [f"quarantine: {rows} rows, {reason}" for reason, rows in sorted(overview.quarantine.items())]
    for lag in behind:
        waited = "" if (seconds := _seconds(lag, now_us)) is None else f", the oldest {seconds / 3600:.1f} hours old"
        lines.append(f"reader {lag.reader.name} of {lag.reader.target}: {lag.rows} rows behind{waited}")
    return lines


def _seconds(lag: Lag, now_us: int) -> float | None:
    return None if lag.oldest_us is None else (now_us - lag.oldest_us) / MICROSECONDS


def moment(time_us: int) -> str:
    with contextlib.suppress(ValueError, OverflowError, OSError):  # beyond the calendar: told as it is
        return _moment(time_us)
    return f"{time_us} us"


def _moment(time_us: int) -> str:
    return datetime.fromtimestamp(time_us // MICROSECONDS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
