"""What goes wrong while serving, as the answers that clients get."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from supervisor.contract import Json
from supervisor.errors import TryAgainError


class PortTakenError(TryAgainError):
    """Another program listens on the port: set another serving.port, or stop that program."""


@dataclass(eq=False)
class ApiError(Exception):
    """An answer that is not a result: HTTP status, a code for programs, a sentence for people."""

    status: int
    code: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Json]:
        return {"error": {"code": self.code, "message": self.message}}


def told_without(folder: Path, error: Exception) -> str:
    """Its message for clients: what lies in the run folder is theirs to hear, where that lies is not."""
    return str(error).replace(f"{folder}{os.sep}", "")


class Refused(ApiError):  # noqa: N818 - a verdict on a model, which the log and clients read by this name
    """A version cannot be served; whatever was live stays live."""


def refused(code: str, message: str) -> Refused:
    """The file is what is wrong with the version (422)."""
    return Refused(422, code, message)
