"""A bar at the foot of a terminal while a command works; nothing where nobody looks, into a pipe or a file."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from supervisor.journal.trial_folder import DamagedTrialError, all_folders

LOOK_S = 0.5


@dataclass(frozen=True)
class Done:
    """How far it is, and what is being done now."""

    share: float  # in [0, 1]
    text: str


@contextlib.contextmanager
def bar(look: Callable[[], Done]) -> Iterator[None]:
    """Shows what `look` says twice a second; lines printed meanwhile stand above it."""
    if not sys.stdout.isatty():
        yield
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    over = threading.Event()
    with Progress(*columns, transient=True) as shown:
        task = shown.add_task("", total=1.0)

        def follow() -> None:
            while not over.wait(LOOK_S):
                done = look()
                shown.update(task, completed=done.share, description=done.text)

        thread = threading.Thread(target=follow, daemon=True, name="bar")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def trained(run_dir: Path, steps: Mapping[str, int]) -> Done:
    """How much of these targets' steps has been trained, from the folders of their trials."""
    done: dict[str, int] = {}
    now: list[str] = []
    for folder in all_folders(run_dir):
        try:
            spec = folder.spec()
        except DamagedTrialError:
            continue
        if spec is None or spec.target not in steps:
            continue
        if folder.was_committed:
            done[spec.target] = steps[spec.target]
        else:
            step = _step(folder.path)
            done.setdefault(spec.target, min(step, steps[spec.target]))
            now.append(f"{spec.target} {100 * step // max(1, spec.budget.steps)} %")
    total = sum(steps.values())
    return Done(sum(done.values()) / max(1, total), ", ".join(now))


def _step(folder: Path) -> int:
    with contextlib.suppress(OSError):
        text = (folder / "heartbeat").read_text().strip()
        return int(text) if text.isdigit() else 0
    return 0
