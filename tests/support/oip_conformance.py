"""All exchanges with one server, and Triton's answers to them as they are recorded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import oip_exchanges as right
from tests.support import oip_mistakes as wrong
from tests.support.oip_answers import Answer, ask
from tests.support.oip_client_calls import CALLS, call
from tests.support.oip_exchanges import Exchange

DIGITS = 6

EXCHANGES = (
    *right.SERVER, *right.about("at first"), *right.JSON, *right.BINARY, *right.PACKING, *wrong.PATHS, *wrong.BODIES,
    *wrong.HEADS, *wrong.INPUTS, *wrong.BINARY, *wrong.EXTENSIONS, *wrong.REPOSITORY,
)  # fmt: skip
"""In this order: the last ones load and unload."""


def answers_of(port: int) -> dict[str, Answer]:
    """By exchange, the stock client's calls under `client: ...` behind the others."""
    answers = {exchange.name: ask(port, exchange) for exchange in EXCHANGES}
    return {**answers, **{f"client: {name}": call(port, name) for name in CALLS}}


@dataclass(frozen=True)
class Recorded:
    """What that version of Triton answered. `asked`: a mark of each exchange as it was then."""

    version: str
    asked: Mapping[str, str]
    answers: Mapping[str, Answer]

    @classmethod
    def of(cls, answers: Mapping[str, Answer]) -> Recorded:
        return cls(answers["server metadata"].json["version"], marks(), answers)

    @classmethod
    def read(cls, path: Path) -> Recorded:
        found = json.loads(path.read_text())
        return cls(found["triton"], found["asked"], {name: Answer(**own) for name, own in found["answers"].items()})

    def write(self, path: Path) -> None:
        """An answer a line, so that a new recording shows what changed."""
        lines = [f"{json.dumps(name)}: {json.dumps(_rounded(own.as_json()))}" for name, own in self.answers.items()]
        asked = ",\n".join(f"{json.dumps(name)}: {json.dumps(mark)}" for name, mark in self.asked.items())
        told = ",\n".join(lines)
        version = json.dumps(self.version)
        path.write_text(f'{{"triton": {version},\n"asked": {{\n{asked}}},\n"answers": {{\n{told}}}}}\n')


def marks() -> dict[str, str]:
    return {exchange.name: _mark(exchange) for exchange in EXCHANGES}


def _mark(exchange: Exchange) -> str:
    # what is packed comes out differently from one library to the next
    body = b"" if "Content-Encoding" in exchange.headers else exchange.body
    parts = (exchange.method, exchange.path, json.dumps(dict(exchange.headers)))
    return hashlib.sha256("\n".join(parts).encode() + body).hexdigest()[:12]


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(own) for key, own in value.items()}
    if isinstance(value, list):
        return [_rounded(own) for own in value]
    return round(value, DIGITS) if isinstance(value, float) else value
