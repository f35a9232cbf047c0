"""Has what is old taken out of the store of experiences once a day, without the loop ever waiting for it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from supervisor.config.continuous import ExperienceSettings
from supervisor.contract import Json, as_json, parse
from supervisor.experience.opening import DEFAULT_NAME
from supervisor.experience.rows import MICROSECONDS
from supervisor.journal import durable
from supervisor.storekeeping import Duty, Ending, Told, is_due

LOOK_S = 60.0
"""Between looks at the day."""
RETRY_S = 600.0
"""After one that could not be done."""
DAY_S = 86_400.0
TAIL_CHARACTERS = 500
COMMAND = (sys.executable, "-m", "supervisor.storekeeping")


class Report(Protocol):
    def __call__(self, event: str, reason: str, **details: Json) -> None: ...


class Storekeeper:
    """`turn` is called at every turn of the loop, from the thread that lives as long as the process."""

    def __init__(
        self,
        run_dir: Path,
        settings: ExperienceSettings,
        reader: str,
        report: Report,
        *,
        command: Sequence[str] = COMMAND,
        monotonic_s: Callable[[], float] = time.monotonic,
        now_us: Callable[[], int] = lambda: int(time.time() * MICROSECONDS),
    ) -> None:
        """`reader` is the run's name in the store."""
        self._run_dir = run_dir
        self._settings = settings
        self._reader = reader
        self._report = report
        self._command = command
        self._monotonic_s = monotonic_s
        self._now_us = now_us
        self._next_look_s = float("-inf")
        self._child: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self._said = ""

    @property
    def busy(self) -> bool:
        return self._child is not None

    def turn(self, reading: Callable[[], Mapping[str, str]]) -> None:
        """Take up what has ended, begin what is due. `reading` is as in `Duty`. Neither waits nor raises."""
        if self._child is not None:
            if self._child.poll() is not None:
                self._take_up(self._child)
        elif self._monotonic_s() >= self._next_look_s:
            self._next_look_s = self._monotonic_s() + LOOK_S
            if self._has_store() and is_due(self._run_dir, self._now_us()):
                try:
                    self._begin(reading())
                except OSError as error:  # no process, no descriptor, no room
                    self._close_output()
                    self._wait(f"the retention of the experience store could not begin ({error})")

    def close(self) -> None:
        """Whatever it is at, the next start's finishes it."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None
        self._close_output()

    def _has_store(self) -> bool:
        return self._settings.url is not None or (self._run_dir / DEFAULT_NAME).exists()

    def _begin(self, reading: Mapping[str, str]) -> None:
        ages = self._settings.retention_days, self._settings.cold_days
        duty = Duty(str(self._run_dir), *ages, self._now_us(), self._reader, reading)
        told = durable.canonical_json(as_json(duty)).decode()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self._child = subprocess.Popen(
            [*self._command, told, str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def _take_up(self, child: subprocess.Popen[bytes]) -> None:
        told = self._heard(child.returncode)
        self._child = None
        self._close_output()
        if told.ending is Ending.LATER:
            self._wait(told.reason)
        elif told.ending is Ending.REFUSED:
            self._next_look_s = self._monotonic_s() + DAY_S
            self._say_once(f"old experiences stay in the store: {told.reason}")
        else:
            self._said = ""
            if told.reason:
                self._report("store_kept", told.reason, **_figures(told))

    def _heard(self, code: int) -> Told:
        """What the process said last; where it did not come to say it, its end."""
        assert self._output is not None
        said = ""
        with contextlib.suppress(OSError, ValueError):
            self._output.seek(0)
            said = self._output.read().decode(errors="replace").strip()
            if code == 0:
                return parse(Told, json.loads((said.splitlines() or [""])[-1]))
        what = f"the retention of the experience store ended with {code}: {said[-TAIL_CHARACTERS:]}"
        return Told(Ending.LATER, what.rstrip(": "))

    def _wait(self, reason: str) -> None:
        self._next_look_s = self._monotonic_s() + RETRY_S
        if reason:
            self._say_once(f"{reason}; nothing is lost, and it is tried again")

    def _say_once(self, reason: str) -> None:
        """Until it has been done."""
        if reason != self._said:
            self._said = reason
            self._report("store_not_kept", reason)

    def _close_output(self) -> None:
        if self._output is not None:
            self._output.close()
            self._output = None


def _figures(told: Told) -> dict[str, Json]:
    return {name: value for name, value in as_json(told.kept).items() if name != "notes"}
