"""Every setting with where it came from and whether it decides results: what `validate --show` prints."""

from __future__ import annotations

import json
from collections.abc import Mapping

from supervisor.config.load import Loaded
from supervisor.config.settings import REDACTED, Settings, as_plain, is_marked, walk
from supervisor.contract import Json

DECIDES = "decides"


def render(loaded: Loaded) -> str:
    """A table of name, value, source and, where it covers the run's identity, `decides`. Secrets show as `(secret)`."""
    rows = [
        (name, _shown(as_plain(value)), loaded.sources[name], DECIDES if is_marked(info, "decides") else "")
        for name, info, value in walk(loaded.settings)
    ]
    rows += [
        (name, _shown(value), loaded.sources.get(name, "default"), "" if name.endswith(".device") else DECIDES)
        for name, value in _targets(loaded.settings).items()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join([*map(str.ljust, row[:3], widths), row[3]]).rstrip() for row in rows]
    return "\n".join(lines) + "\n"


def _targets(settings: Settings) -> Mapping[str, Json]:
    """What the section `targets` gives, by dotted name."""
    found: dict[str, Json] = {}
    for key, target in settings.targets.items():
        found |= {f"targets.{key}.params.{name}": value for name, value in target.params.items()}
        for name in ("frequency", "steps", "device"):
            value = getattr(target, name)
            if value is not None:
                found[f"targets.{key}.{name}"] = value
    return found


def _shown(value: Json) -> str:
    if value == REDACTED:
        return REDACTED
    return value if isinstance(value, str) else json.dumps(value)
