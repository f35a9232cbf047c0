"""One start of the supervisor in a process of its own, and how it ended as the command line tells it."""

from __future__ import annotations

import json
import os
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from supervisor import loop
from supervisor.commands.oserrors import exit_code_of, message_of
from supervisor.errors import IncumbentError
from tests.faults.cell import PromiseBrokenError
from tests.faults.scenario import Scenario

Disturbance = Callable[[], Callable[[], int]]
"""Called in the new process; what it returns says afterwards how many faults were dealt."""


@dataclass(frozen=True)
class Ended:
    """The exit code, 0 for a start that came to its end, and the message for the operator."""

    code: int
    message: str
    faults: int


def undisturbed() -> Callable[[], int]:
    return lambda: 0


def start(scenario: Scenario, run_dir: Path, disturb: Disturbance = undisturbed) -> Ended:
    """What it holds ends with its process, as with an operator's start. Raises PromiseBrokenError for a traceback."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            answer = json.dumps(_run(scenario, run_dir, disturb)).encode()
            os.write(writing, answer)
        except BaseException:
            os.write(writing, json.dumps(traceback.format_exc()[-3000:]).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        answer = stream.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        raise PromiseBrokenError(f"ended by {signal.Signals(os.WTERMSIG(status)).name}")
    found = json.loads(answer)
    if isinstance(found, str):
        raise PromiseBrokenError(found)
    return Ended(*found)


def _run(scenario: Scenario, run_dir: Path, disturb: Disturbance) -> tuple[int, str, int]:
    code: int | None = 0
    message = ""
    faults = disturb()
    try:
        scenario.run(run_dir)
    except IncumbentError as error:
        code, message = error.exit_code, str(error)
    except OSError as error:
        code, message = exit_code_of(error), message_of(error)
        if code is None:  # what the command line shows as a traceback
            raise
    return code, message, faults()


def hurry() -> None:
    """Pauses that would last seconds are over at once; in this process and those that it starts."""
    loop.FIRST_DISK_PAUSE_S = loop.LONGEST_DISK_PAUSE_S = loop.IDLE_WAIT_S = 0.002
