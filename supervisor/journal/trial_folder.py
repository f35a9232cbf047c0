"""`trials/000042/`: what one trial is told, saves and answers; the only channel between supervisor and trial."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from supervisor.contract import DuelResult, DuelSpec, Json, TrialResult, TrialSpec, as_json, parse
from supervisor.errors import DamagedStateError
from supervisor.journal import durable

FOLDER_NAME = "trials"
COMMITTED_NAME = "committed"
FACTS_NAME = "facts.jsonl"
KEPT_NAMES = frozenset(
    {COMMITTED_NAME, FACTS_NAME}
    | {"trial.json", "result.json", "duel.json", "duel_result.json", "games.jsonl", "stderr.log"}
)
RESUME_NAMES = frozenset(
    {"weights.pt", "weights.previous.pt", "progress.json"} | {"built.json", "model.onnx", "final.pt", "games.jsonl"}
)
CANDIDATE_FOLDERS = "c[0-6]"  # of a confirmation's builds

T = TypeVar("T")


@dataclass(frozen=True)
class TrialFolder:
    """One trial's folder. Its files are written once; only `games.jsonl` and `facts.jsonl` grow."""

    path: Path

    @classmethod
    def of(cls, run_dir: Path, iteration: int) -> TrialFolder:
        return cls(run_dir / FOLDER_NAME / f"{iteration:06d}")

    @property
    def iteration(self) -> int:
        return int(self.path.name)

    @property
    def model(self) -> Path:
        return self.path / "model.onnx"

    @property
    def weights(self) -> Path:
        return self.path / "final.pt"

    def create(self, spec: TrialSpec) -> None:
        """Make the proposal durable: from here on it is never proposed again."""
        durable.make_folder(self.path)
        durable.write_json(self.path / "trial.json", as_json(spec))

    def spec(self) -> TrialSpec | None:
        return self._read("trial.json", TrialSpec)

    def result(self) -> TrialResult | None:
        return self._read("result.json", TrialResult)

    def duel(self) -> DuelSpec | None:
        return self._read("duel.json", DuelSpec)

    def duel_result(self) -> DuelResult | None:
        return self._read("duel_result.json", DuelResult)

    def write_result(self, result: TrialResult) -> None:
        durable.write_json(self.path / "result.json", as_json(result))

    def write_duel(self, duel: DuelSpec) -> None:
        durable.write_json(self.path / "duel.json", as_json(duel))

    def write_duel_result(self, result: DuelResult) -> None:
        durable.write_json(self.path / "duel_result.json", as_json(result))

    def add_fact(self, fact: str, **details: Json) -> None:
        """One durable line about something the outside world decided; what a killed writer left unfinished goes."""
        path = self.path / FACTS_NAME
        data = path.read_bytes() if path.exists() else b""
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            durable.truncate(path, whole)
        line: dict[str, Json] = {"fact": fact, **details}
        durable.append(path, durable.canonical_json(line) + b"\n")

    def facts(self) -> list[dict[str, Json]]:
        """The complete lines; a torn last one never counted. Raises DamagedStateError naming file and line."""
        path = self.path / FACTS_NAME
        data = path.read_bytes() if path.exists() else b""
        lines = data[: data.rfind(b"\n") + 1].splitlines()
        return [self._fact(path, number, line) for number, line in enumerate(lines, start=1)]

    def _fact(self, path: Path, number: int, text: bytes) -> dict[str, Json]:
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            line = None
        if not isinstance(line, dict) or not isinstance(line.get("fact"), str):
            raise DamagedStateError(
                f"{path}:{number}: no fact of this program; remove the folder {self.path} to run this iteration again"
            )
        return line

    def progress_mark(self) -> str:
        """A value that changes whenever the trial saved something new: weights, a block of games, a built file."""
        parts = []
        for path in sorted(self.path.rglob("*")):
            if path.name in ("progress.json", "built.json", "failed.json"):
                parts.append(durable.sha256_file(path))
            elif path.name == "games.jsonl":
                parts.append(str(path.stat().st_size))
        return ":".join(parts)

    def forget_resume_point(self) -> None:
        """Throw away what an unfinished build saved: other library versions would not continue it bit by bit.

        Games go with the build they were played with. A finished build (`result.json`) stays as it is. Only the folder
        and its candidates' own are touched: deeper a target's own files may have the same names.
        """
        if (self.path / "result.json").exists():
            return
        for folder in (self.path, *sorted(self.path.glob(CANDIDATE_FOLDERS))):
            found = [folder / name for name in sorted(RESUME_NAMES) if (folder / name).is_file()]
            for path in found:
                durable.remove(path)
            if found:
                durable.sync_folder(folder)

    @property
    def was_committed(self) -> bool:
        """Whether its line was in the log once; its model files are gone since, so it cannot be committed again."""
        return (self.path / COMMITTED_NAME).exists()

    def tidy(self) -> None:
        """After the commit: the weights go, the JSON stays."""
        if self.path.is_dir():
            (self.path / COMMITTED_NAME).touch()
        for path in sorted(self.path.iterdir()) if self.path.is_dir() else []:
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in KEPT_NAMES:
                durable.remove(path)

    def remove(self) -> None:
        if self.path.is_dir():
            shutil.rmtree(self.path)

    def _read(self, name: str, cls: type[T]) -> T | None:
        path = self.path / name
        try:
            return parse(cls, json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise DamagedStateError(
                f"{path} is damaged ({error}); remove the folder {self.path} to run this iteration again"
            ) from error


def all_folders(run_dir: Path) -> Iterator[TrialFolder]:
    """Every trial folder that is there, in order of iteration."""
    parent = run_dir / FOLDER_NAME
    for path in sorted(parent.iterdir()) if parent.is_dir() else []:
        if path.is_dir() and path.name.isdigit():
            yield TrialFolder(path)
