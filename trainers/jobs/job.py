"""The main of every job: `task.json` of the folder given is done, `result.json` written last.

Who starts it gives it one thread (OMP_NUM_THREADS).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from supervisor.contract import as_json, parse
from supervisor.errors import IncumbentError, TrialError
from supervisor.journal import sealed
from supervisor.tasks import FAILED, RESULT_NAME, TASK_NAME

T = TypeVar("T")


def main(arguments: list[str], task: type[T], work: Callable[[T], object]) -> int:
    """The exit code: 0, or FAILED and that of the error for the operator."""
    folder = Path(arguments[0])
    try:
        result = work(parse(task, sealed.read(folder / TASK_NAME)))
    except IncumbentError as error:
        print(error, file=sys.stderr)
        return FAILED + error.exit_code
    except TrialError as error:
        print(error, file=sys.stderr)
        return FAILED + IncumbentError.exit_code
    sealed.write(folder / RESULT_NAME, as_json(result))
    return 0


def say(text: str) -> None:
    """A line of progress."""
    print(text, flush=True)
