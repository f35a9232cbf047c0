"""What a command asks of a process that has torch, and what comes back: the values of `task.json` and `result.json`.

One pair for each module of `trainers/jobs/`. Seeds are given, never drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

TASK_NAME, RESULT_NAME = "task.json", "result.json"


@dataclass(frozen=True)
class ExportItem:
    """One version to write. `name` is the file's, without its ending; fights of `seed` on give the rows it is tried
    on."""

    name: str
    target: str
    model_sha256: str
    level: int
    seed: int


@dataclass(frozen=True)
class ExportTask:
    """Models lie in `models`, files go to `output`. Without `tolerance` nothing is compared."""

    items: tuple[ExportItem, ...]
    models: str
    output: str
    half: bool  # FP16 inside; inputs and outputs stay FP32
    optimize: bool
    tolerance: float | None = None  # largest difference of an answer to the registered file's
    equal_choices: float = 1.0  # smallest share of rows whose choice is the same


@dataclass(frozen=True)
class ExportFile:
    """What became of an item. `problem` says why no file was written."""

    name: str
    sha256: str = ""
    parameters: int = 0
    difference: float | None = None  # None where nothing was compared
    equal_choices: float | None = None  # None where the model chooses nothing
    problem: str = ""


@dataclass(frozen=True)
class ExportResult:
    files: tuple[ExportFile, ...]
