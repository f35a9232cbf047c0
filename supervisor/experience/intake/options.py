"""What the intake is told at the server's start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class IntakeOptions:
    """`config.settings.ExperienceSettings` says what each means. `targets` are known though no model of theirs may be
    loaded."""

    accept: bool = True
    url: str | None = field(default=None, repr=False)
    max_body_kb: int = 8192
    max_waiting_rows: int = 65536
    commit_ms: float = 50.0
    targets: Sequence[str] = ()
