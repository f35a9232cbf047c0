"""Scorecards of finished versions, made by processes that have torch: `reports/<archetype>.<model_type>/card.json`.

A card that lies there for the same question is not made again, so an interrupted command goes on where it was.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from supervisor.commands.bars import Done, bar
from supervisor.contract import ScoreCard, ScoreTask, Version, as_json, parse
from supervisor.errors import TryAgainError
from supervisor.journal import durable, sealed
from supervisor.registry.store import ModelStore
from supervisor.seeds import derive_seed

FOLDER = "reports"
TASK_NAME, CARD_NAME = "task.json", "card.json"
MODULE = "trainers.scorecard"
LOOK_S = 0.2
STDERR_CHARACTERS = 2000


@dataclass(frozen=True)
class Question:
    """One version to examine."""

    target: str
    version: Version
    level: int


def task_of(question: Question, run_seed: int, games: int) -> ScoreTask:
    """The games are none that a search has played: their seeds have a purpose of their own. The untrained network is
    the one that a training of the version's iteration begins with from scratch.
    """
    version = question.version
    return ScoreTask(
        target=question.target,
        version=version.name,
        model_sha256=version.model_sha256,
        params=version.params,
        level=question.level,
        games=games,
        seed=derive_seed(run_seed, "scorecard", question.target, version.iteration),
        untrained_seed=derive_seed(run_seed, "train", question.target, version.iteration),
    )


def examine(
    run_dir: Path, tasks: Sequence[ScoreTask], workers: int, say: Callable[[str], None]
) -> dict[str, ScoreCard]:
    """The card of every task by target; those that lie there are taken, the others are made by `workers` processes.

    Raises TryAgainError with what a process said when it fails; the cards made until then stay.
    """
    found = {task.target: known_card(run_dir, task) for task in tasks}
    missing = [task for task in tasks if found[task.target] is None]
    if missing:
        say(f"{len(missing)} of {len(tasks)} models are examined over {tasks[0].games} games each")
        with bar(lambda: _examined(run_dir, missing)):
            _make(run_dir, missing, workers, say)
    return {task.target: _card(run_dir, task) for task in tasks}


def _examined(run_dir: Path, tasks: Sequence[ScoreTask]) -> Done:
    there = sum((_folder(run_dir, task) / CARD_NAME).exists() for task in tasks)
    return Done(there / len(tasks), f"{there} of {len(tasks)} models examined")


def known_card(run_dir: Path, task: ScoreTask) -> ScoreCard | None:
    """The card that answers this very task, if there is one."""
    try:
        card = parse(ScoreCard, sealed.read(_folder(run_dir, task) / CARD_NAME))
    except (FileNotFoundError, ValueError):
        return None
    return card if card.task == task else None


def _card(run_dir: Path, task: ScoreTask) -> ScoreCard:
    card = known_card(run_dir, task)
    if card is None:
        raise TryAgainError(f"{_folder(run_dir, task) / CARD_NAME} was not written; run the command again")
    return card


def _folder(run_dir: Path, task: ScoreTask) -> Path:
    return run_dir / FOLDER / task.target.replace("/", ".")


def _make(run_dir: Path, tasks: Sequence[ScoreTask], workers: int, say: Callable[[str], None]) -> None:
    for task in tasks:
        folder = _folder(run_dir, task)
        durable.make_folder(folder)
        durable.remove(folder / CARD_NAME)
        sealed.write(folder / TASK_NAME, as_json(task))
    shares = [tasks[number::workers] for number in range(min(workers, len(tasks)))]
    processes = [_start(run_dir, number, share) for number, share in enumerate(shares)]
    try:
        _follow(run_dir, tasks, processes, say)
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def _start(run_dir: Path, number: int, tasks: Sequence[ScoreTask]) -> subprocess.Popen[bytes]:
    folders = [str(_folder(run_dir, task)) for task in tasks]
    command = [sys.executable, "-m", MODULE, "--models", str(ModelStore(run_dir).folder), *folders]
    with _stderr(run_dir, number).open("wb") as stderr:
        return subprocess.Popen(command, env=_environment(os.environ), stderr=stderr)


def _stderr(run_dir: Path, number: int) -> Path:
    return run_dir / FOLDER / f"stderr.{number}.log"


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """One thread each: results depend on it, and the processes share the cores."""
    return {**environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def _follow(
    run_dir: Path,
    tasks: Sequence[ScoreTask],
    processes: Sequence[subprocess.Popen[bytes]],
    say: Callable[[str], None],
) -> None:
    waiting = list(tasks)
    while True:
        running = [process for process in processes if process.poll() is None]
        for task in list(waiting):
            if (_folder(run_dir, task) / CARD_NAME).exists():
                waiting.remove(task)
                say(f"examined {task.target} {task.version} ({len(tasks) - len(waiting)} of {len(tasks)})")
        for number, process in enumerate(processes):
            if process.returncode not in (None, 0):
                said = _stderr(run_dir, number).read_text(errors="replace")[-STDERR_CHARACTERS:]
                raise TryAgainError(f"an examination failed, those before it are kept: {said.strip()}")
        if not running:
            return
        time.sleep(LOOK_S)
