"""`trials/000042/`: what one trial is told, saves and answers; the only channel between supervisor and trial."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from supervisor.contract import DuelResult, DuelSpec, Group, Json, TrialResult, TrialSpec, as_json, parse
from supervisor.errors import TryAgainError
from supervisor.journal import durable, removal, sealed

FOLDER_NAME = "trials"
COMMITTED_NAME = "committed"
FACTS_NAME = "facts.jsonl"
GAMES_NAME = "games.jsonl"
SPEC_NAME = "trial.json"
RESULT_NAME = "result.json"
DUEL_NAME = "duel.json"
DUEL_RESULT_NAME = "duel_result.json"
GROUP_NAME = "group.json"
TRAINED_NAME = "trained"
BUILT_NAME = "built.json"
KEPT_NAMES = frozenset(
    {COMMITTED_NAME, FACTS_NAME, GAMES_NAME, SPEC_NAME, RESULT_NAME, DUEL_NAME, DUEL_RESULT_NAME}
    | {"stderr.log", "last_good.pt"}  # of a training that diverged
)
KEPT_FOLDERS = frozenset({"curves"})  # of TensorBoard
RESUME_NAMES = frozenset(
    {"weights.pt", "weights.previous.pt", "progress.json"}
    | {BUILT_NAME, TRAINED_NAME, "model.onnx", "final.pt", GAMES_NAME}
)
CANDIDATE_FOLDERS = "c[0-6]"  # of a confirmation's builds

T = TypeVar("T")


class DamagedTrialError(TryAgainError):
    """A file of a trial in flight is not as it was written. The next start sees to it: see mending.py."""


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
        """Make the proposal durable: from here on it is never proposed again. The requests that it answers come first,
        so that even without the proposal they are not lost."""
        durable.make_folder(self.path)
        known = self.facts()
        for fact in spec.facts:
            if dict(fact) not in known:
                sealed.append_line(self.path / FACTS_NAME, fact)
        self._write(SPEC_NAME, spec)

    def keep(self, spec: TrialSpec) -> None:
        """Write the proposal again where it does not stand as it was made."""
        path = self.path / SPEC_NAME
        if not path.is_file() or path.read_bytes() != sealed.encode(as_json(spec)):
            self._write(SPEC_NAME, spec)

    def spec(self) -> TrialSpec | None:
        return self._read(SPEC_NAME, TrialSpec)

    def result(self) -> TrialResult | None:
        return self._read(RESULT_NAME, TrialResult)

    def duel(self) -> DuelSpec | None:
        return self._read(DUEL_NAME, DuelSpec)

    def duel_result(self) -> DuelResult | None:
        return self._read(DUEL_RESULT_NAME, DuelResult)

    def write_result(self, result: TrialResult) -> None:
        self._write(RESULT_NAME, result)

    def write_duel(self, duel: DuelSpec) -> None:
        self._write(DUEL_NAME, duel)

    def write_duel_result(self, result: DuelResult) -> None:
        self._write(DUEL_RESULT_NAME, result)

    def write_group(self, iterations: Sequence[int]) -> None:
        """Whose trainings the next process here does beside its own; what an earlier one left undone is withdrawn."""
        if iterations:
            self._write(GROUP_NAME, Group(tuple(iterations)))
        elif self.has_group:
            durable.remove(self.path / GROUP_NAME)

    @property
    def has_group(self) -> bool:
        """Whether trainings of other trials are still to be done by the process here."""
        return (self.path / GROUP_NAME).exists()

    @property
    def is_trained(self) -> bool:
        """Whether it has been through a group's trainings, or has no training left to do."""
        return any((self.path / name).exists() for name in (TRAINED_NAME, BUILT_NAME))

    def add_fact(self, fact: str, **details: Json) -> None:
        """One durable line about something the outside world decided."""
        sealed.append_line(self.path / FACTS_NAME, {"fact": fact, **details})

    def facts(self) -> list[dict[str, Json]]:
        """The whole lines; one that is torn or damaged does not count."""
        return [*sealed.read_lines(self.path / FACTS_NAME, as_fact).whole]

    def progress_mark(self) -> str:
        """A value that changes whenever the trial saved something new: weights, a block of games, a built file."""
        parts = []
        for path in sorted(self.path.rglob("*")):
            if path.name in ("progress.json", "built.json", "failed.json"):
                parts.append(durable.sha256_file(path))
            elif path.name == GAMES_NAME:
                parts.append(str(path.stat().st_size))
        return ":".join(parts)

    def forget_resume_point(self) -> None:
        """Throw away what an unfinished build saved: other library versions would not continue it bit by bit.

        Games go with the build they were played with. A finished build (`result.json`) stays as it is. Only the folder
        and its candidates' own are touched: deeper a target's own files may have the same names.
        """
        if (self.path / RESULT_NAME).exists():
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

    def tidy(self) -> list[str]:
        """After the commit: the weights go, the JSON stays. A sentence for everything that would not go."""
        if self.path.is_dir():
            durable.mark(self.path / COMMITTED_NAME)
        problems = []
        for path in self.remains():
            if path.is_dir() and not path.is_symlink():
                problems.append(removal.remove_tree(path))
            else:
                durable.remove(path)
        return [problem for problem in problems if problem]

    def remains(self) -> list[Path]:
        """What is needless once the line is committed: weights, work folders, half-written files."""
        entries = sorted(self.path.iterdir()) if self.path.is_dir() else []
        kept = {True: KEPT_FOLDERS, False: KEPT_NAMES}
        return [path for path in entries if path.name not in kept[path.is_dir()]]

    def remove(self) -> str:
        """All of it; a sentence where something would not go."""
        return removal.remove_tree(self.path) if self.path.is_dir() else ""

    def make_room(self) -> str:
        """All of it, for another trial of the same number; a sentence where something had to be moved aside."""
        return removal.clear_place(self.path) if self.path.is_dir() else ""

    def _write(self, name: str, value: TrialSpec | TrialResult | DuelSpec | DuelResult | Group) -> None:
        sealed.write(self.path / name, as_json(value))

    def _read(self, name: str, cls: type[T]) -> T | None:
        path = self.path / name
        try:
            return parse(cls, sealed.read(path))
        except FileNotFoundError:
            return None
        except ValueError as error:
            what = str(error).splitlines()[0]
            raise DamagedTrialError(f"{path} is damaged ({what}); start again: what it said is made again") from error


def as_fact(line: dict[str, Json]) -> dict[str, Json]:
    """Raises ValueError for a line that is none."""
    if not isinstance(line.get("fact"), str):
        raise ValueError("no fact of this program")  # noqa: TRY004 - one kind of error for every kind of damage
    return line


def set_aside(run_dir: Path) -> list[Path]:
    """What was in the way of another trial and would not go."""
    return sorted((run_dir / FOLDER_NAME).glob(f"*{removal.LEFT_SUFFIX}"))


def all_folders(run_dir: Path) -> Iterator[TrialFolder]:
    """Every trial folder that is there, in order of iteration."""
    parent = run_dir / FOLDER_NAME
    for path in sorted(parent.iterdir()) if parent.is_dir() else []:
        if path.is_dir() and path.name.isdigit():
            yield TrialFolder(path)
