"""What somebody who looks after a store finds: what it is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """`wrong` makes `incumbent store doctor` exit 1; `note` is only told; `ok` was looked at and is as it should be."""

    WRONG = "wrong"
    NOTE = "note"
    OK = "ok"


@dataclass(frozen=True)
class Finding:
    """One thing found. `code` is for scripts (`lag`, `missing_index`), `what` says where and how much, `cure` what to
    do, as a command or an SQL statement where one does it; none where nothing is to be done."""

    code: str
    what: str
    cure: str = ""
    severity: Severity = Severity.WRONG
