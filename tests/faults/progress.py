"""What earlier calls of the matrix have shown already, for as long as the code is the same."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from tests.faults.cell import Result
from tests.support.processes import ROOT

CODE_FOLDERS = ("supervisor", "trainers", "search_spaces", "tests/faults", "tests/support")
RESULTS_NAME = "results.jsonl"


def code_digest() -> str:
    """Over everything that a result depends on; a result of other code says nothing."""
    found = hashlib.sha256()
    for folder in CODE_FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".yaml", ".json", ".c"):
                found.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


class Progress:
    """Results of this code by cell and point, one line each; a failed point is tried again."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / RESULTS_NAME
        self._digest = code_digest()
        self._passed = {(result.cell, result.point): result for result in self._read() if not result.failure}

    def passed(self, cell: str, point: str) -> Result | None:
        return self._passed.get((cell, point))

    def add(self, result: Result) -> None:
        with self._path.open("a") as stream:
            stream.write(json.dumps({"code": self._digest, **asdict(result)}) + "\n")

    def _read(self) -> list[Result]:
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        found = [json.loads(line) for line in lines]
        mine = [line for line in found if line.pop("code") == self._digest]
        return [Result(**line) for line in mine]
