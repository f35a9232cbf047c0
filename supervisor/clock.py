"""The only clock. It is handed in, so that a test may hand in another."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


def unix_s(text: str) -> float | None:
    """Seconds since the epoch of a time as the clock writes it; None where it is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


@dataclass(frozen=True)
class Clock:
    """Seconds that never jump, and the wall's time as ISO 8601 text in UTC."""

    monotonic_s: Callable[[], float] = time.monotonic
    now_text: Callable[[], str] = lambda: datetime.now(UTC).isoformat(timespec="milliseconds")
