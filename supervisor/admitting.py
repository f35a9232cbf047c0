"""Whether a trial may begin now. It only delays: what a trial is, and so the log, never depends on the answer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from supervisor.contract import Waiting
from supervisor.execution.gpu_hours import DAY_CHARACTERS, within_gpu_hours
from supervisor.execution.room import Claim, Placement, at_once_on_one, share_of
from supervisor.external.command_settings import parse_command
from supervisor.external.in_place import real_path
from supervisor.flight import Flight
from supervisor.memory import Memory
from supervisor.parts import Parts


class Admitter:
    """Remembers what it waits for, and says it once."""

    def __init__(self, parts: Parts, memory: Memory) -> None:
        self._parts = parts
        self._memory = memory
        self._not_before_s = 0.0
        self._waiting_since_s: float | None = None  # for resources
        self._gpu_hours_used = False
        self._said_gpu_hours = ""
        self._said_no_room = False
        self._without_gpu_since_s: dict[int, float] = {}  # by iteration
        self._yields = False

    @property
    def waiting(self) -> Waiting | None:
        """What it waits for, if it does."""
        if self._yields or self._waiting_since_s is not None:
            return Waiting.RESOURCES
        if self._gpu_hours_used:
            return Waiting.GPU_HOURS
        if self._without_gpu_since_s:
            return Waiting.GPU
        return Waiting.BACK_OFF if self._parts.clock.monotonic_s() < self._not_before_s else None

    def back_off(self, delay_s: float) -> None:
        """Nothing begins for so long."""
        self._not_before_s = self._parts.clock.monotonic_s() + delay_s

    def may_begin(self, target: str, flights: Iterable[Flight]) -> bool:
        """Whether a new trial of the target may begin: no back-off, GPU-hours left, other programs leave resources."""
        now_s = self._parts.clock.monotonic_s()
        if now_s < self._not_before_s or not self._has_gpu_hours(target, flights):
            return False
        admission = self._parts.admission()
        if admission.admitted:
            self._waiting_since_s = None
            return True
        self._wait(admission.reason)
        return False

    def yields(self) -> bool:
        """Whether the trials that run are to save and leave, and go on once other programs leave resources again."""
        reason = self._parts.overload()
        if reason:
            if not self._yields:
                self._parts.events.write("yielded", f"trials save and leave until it is over: {reason}")
            self._wait(reason)
        elif self._yields:
            self._waiting_since_s = None
            self._parts.events.write("went_on", "other programs leave resources again: trials go on where they were")
        self._yields = bool(reason)
        return self._yields

    def _wait(self, reason: str) -> None:
        """For resources: so long, then not until the next interval."""
        now_s, wait_s = self._parts.clock.monotonic_s(), self._parts.settings.resources.wait_s
        if now_s < self._not_before_s:
            return
        if self._waiting_since_s is None:
            self._waiting_since_s = now_s
            self._parts.say(f"waiting for resources: {reason}")
        elif now_s - self._waiting_since_s >= wait_s:
            self._waiting_since_s = None
            self.back_off(wait_s)
            self._parts.events.write("skipped", f"no resources for {wait_s:.0f} s: {reason}")

    @property
    def at_once(self) -> int:
        """Trials that share one GPU."""
        return at_once_on_one(self._parts.settings.run.workers, len(self._parts.machine().gpus))

    def place_beside(self, flight: Flight, flights: Iterable[Flight]) -> Placement:
        """Where the budgets of the trials that run leave room for this one's; if nowhere, it waits until one ends, and
        for a GPU that is not there until it comes back."""
        at_once, workers = self.at_once, self._parts.settings.run.workers
        running = [
            Claim(share_of(other.spec.budget, at_once), other.device.gpu.index if other.device.gpu else None)
            for other in flights
            if other.handle is not None
        ]
        placement = self._parts.room(running, share_of(flight.spec.budget, at_once), flight.want)
        if placement.gone:
            self._miss(flight, placement.reason)
            return placement
        self._without_gpu_since_s.pop(flight.spec.iteration, None)
        if not placement.admitted and not self._said_no_room:
            self._said_no_room = True
            self._parts.events.write(
                "fewer_workers", f"{len(running)} at a time for now instead of {workers}: {placement.reason}"
            )
        return placement

    def _miss(self, flight: Flight, reason: str) -> None:
        if flight.spec.iteration not in self._without_gpu_since_s:
            self._without_gpu_since_s[flight.spec.iteration] = self._parts.clock.monotonic_s()
            wait_s, target = self._parts.settings.resources.wait_s, flight.spec.target
            self._parts.events.write(
                "gpu_missing",
                f"iteration {flight.spec.iteration} ({target}) waits: {reason}. It fails unless one comes back within"
                f" {wait_s:.0f} s (resources.wait_s); started again with targets.{target}.device: cpu, it begins anew"
                " there",
            )

    def gave_up_on(self, flight: Flight) -> bool:
        """Whether the GPU that the trial needs was waited for in vain; then it is forgotten."""
        since_s = self._without_gpu_since_s.get(flight.spec.iteration)
        if since_s is None or self._parts.clock.monotonic_s() - since_s < self._parts.settings.resources.wait_s:
            return False
        del self._without_gpu_since_s[flight.spec.iteration]
        return True

    def has_its_file(self, flight: Flight, flights: Iterable[Flight], ready: Flight | None) -> bool:
        """Whether no trial that runs, nor the one about to be committed, edits the same file of the user in place."""
        users = [other for other in flights if other.handle is not None or other is ready]
        file = self._file_in_place(flight) if users else None
        return file is None or all(self._file_in_place(other) != file for other in users)

    def _file_in_place(self, flight: Flight) -> Path | None:
        definition = self._parts.definitions.get(flight.spec.target)
        if definition is None or definition.kind != "command":
            return None
        command = parse_command(definition.settings, Path())
        return real_path(command.config_file) if command.in_place else None

    def _has_gpu_hours(self, target: str, flights: Iterable[Flight]) -> bool:
        hours, now = self._parts.settings.budgets.gpu_hours_per_day, self._parts.clock.now_text()
        in_flight_s = sum(flight.gpu_s for flight in flights if flight.spec.target == target)
        lines = self._memory.ended_on(now[:DAY_CHARACTERS]) if hours is not None else ()
        answer = within_gpu_hours(target, hours, now, lines, in_flight_s)
        self._gpu_hours_used = not answer.admitted
        if self._gpu_hours_used and answer.reason != self._said_gpu_hours:
            self._said_gpu_hours = answer.reason
            self._parts.events.write("gpu_hours_used", answer.reason)
        return answer.admitted
