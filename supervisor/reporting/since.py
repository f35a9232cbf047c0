"""A point in time as people type it: how long ago, or when. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

UNITS_S = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
AGO = re.compile(r"(\d{1,6})([mhdw])")


def moment(text: str, now_s: float) -> float:
    """Seconds since 1970 of `90m`, `24h`, `7d`, `2w` before now, or of a date or time of ISO 8601, in UTC unless it
    names a zone.

    Raises ValueError where it is neither.
    """
    ago = AGO.fullmatch(text.strip())
    if ago is not None:
        return now_s - int(ago[1]) * UNITS_S[ago[2]]
    when = datetime.fromisoformat(text.strip())
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
