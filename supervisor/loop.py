"""The loop: propose, run, decide, commit, for months. It owns the order of things; others decide.

Nothing here assumes one trial at a time: trials run in any order within the window, lines commit in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from supervisor.admitting import Admitter
from supervisor.committing import Committer
from supervisor.console import line_for_people, position, standing
from supervisor.contract import Json, Reason, TrialSpec, Waiting
from supervisor.execution import attempts
from supervisor.execution.device import AUTO, CPU, CUDA
from supervisor.execution.server_link import wait_readable
from supervisor.flight import WANTS, Flight
from supervisor.grouping import group_for, size_of_groups
from supervisor.intake import Intake, Wishes, asked_in, asked_of, fact_asked, needs_training
from supervisor.journal.durable import DiskFullError
from supervisor.journal.mending import mend
from supervisor.journal.trial_folder import TrialFolder, all_folders
from supervisor.lesson import Lesson
from supervisor.lessons import Lessons
from supervisor.memory import Memory
from supervisor.model_files import ModelFiles
from supervisor.parts import Parts, Turn
from supervisor.proposing import Planner
from supervisor.putting_off import PutOff
from supervisor.record import PURPOSES_OF_PEOPLE, Record
from supervisor.search.schedule import stagnation
from supervisor.signals import Signals, StopAsked
from supervisor.starting_over import start_over_where_it_must
from supervisor.storekeeper import Storekeeper

IDLE_WAIT_S = 1.0  # how long a turn may wait before requests are looked at again
STOP_LIMIT_S = 10.0  # trials that have not saved and left by then are killed, so that the whole stop takes 15 s
FIRST_DISK_PAUSE_S = 1.0
LONGEST_DISK_PAUSE_S = 60.0

T = TypeVar("T")


class Supervisor:
    """One run of the loop in one process, from recovered state to a clean end."""

    def __init__(
        self,
        parts: Parts,
        memory: Memory,
        committer: Committer,
        signals: Signals,
        lessons: Lessons | None = None,
        storekeeper: Storekeeper | None = None,
    ) -> None:
        """Without `lessons` nothing is learnt from what was played, without a `storekeeper` all of it stays."""
        self._parts = parts
        self._memory = memory
        self._committer = committer
        self._signals = signals
        self._admitter = Admitter(parts, memory)
        self._intake = Intake(parts.run_dir, parts.events, parts.definitions)
        self._planner = Planner(parts, memory, lessons)
        self._lessons = lessons
        self._storekeeper = storekeeper
        self._model_files = ModelFiles(parts, memory)
        self._put_off = PutOff(parts.run_dir)
        self._flights: dict[int, Flight] = {}
        self._stop_wished = False
        self._moved = False  # whether this turn changed anything; if not, the next one waits for an event

    def run(self, requests_only: bool = False) -> bool:
        """Until told to stop (then True), or until max_iterations; state is saved before it returns.

        `requests_only` carries out promotions and rollbacks that wait, behind whatever was in flight, and leaves.
        """
        try:
            self._until_told(requests_only)
        except StopAsked:
            pass  # while a proposal was being thought about; nothing of it is durable yet
        except DiskFullError:
            self._parts.say("told to stop while the disk is full")  # _patiently has said which file
        self._parts.notifier.stopping(f"saving; {position(self._memory.state)}")
        self._leave()
        return self._stopping

    def _until_told(self, requests_only: bool) -> None:
        self._patiently(partial(self._parts.projections.catch_up, self._memory.state))
        self._committer.catch_up()
        self._tell()
        if self._memory.snapshot_due:
            self._patiently(self._committer.snapshot)
        self._patiently(self._take_up_flights)
        if not requests_only:
            self._model_files.check_incumbents(self._in_order())
        while not self._finished():
            self._moved = False
            self._collect()
            wishes = self._intake.look(self._facts_taken(), self._memory.state.targets, requests_only)
            self._stop_wished = self._stop_wished or wishes.stop
            nothing_to_do = wishes.paused or (wishes.iteration is None and not self._flights)
            if self._stopping or (requests_only and nothing_to_do):
                break
            ready = self._ready_to_commit()
            if wishes.paused:
                self._quiet()
            else:  # before the commit, and only one commit a turn, so that no free worker waits for it
                yields = not requests_only and self._admitter.yields()
                self._propose(wishes, requests_only)
                if yields:
                    self._quiet()
                else:
                    self._launch(ready)
            if ready is not None:
                self._commit(ready)
            if not self._moved:
                self._parts.executor.wait(IDLE_WAIT_S, also=[self._signals.descriptor])
            self._tell(Waiting.PAUSED if wishes.paused else None)
            if self._storekeeper is not None:
                self._storekeeper.turn(self._reading)

    def _tell(self, waiting: Waiting | None = None) -> None:
        """A turn is done: the service manager hears of it, and whoever measures the run, and where it stands."""
        running = [flight for flight in self._flights.values() if flight.handle is not None]
        gpu = Waiting.GPU if self._admitter.misses_gpu and not running else None
        waiting = waiting or self._admitter.waiting or gpu or self._wants_experiences()
        self._parts.notifier.turn(standing(self._memory.state, waiting))
        cycle, store_up = self._lessons.standing if self._lessons is not None else (0, True)
        devices = self._devices(running)
        self._parts.measured(Turn(self._memory.state, len(running), waiting, cycle, store_up, devices))

    def _devices(self, running: Sequence[Flight]) -> tuple[str, ...]:
        """What trials compute on; where none runs, what they would."""
        if running:
            return tuple(sorted({flight.on for flight in running}))
        gpu = CUDA if self._parts.machine().gpus else CPU
        would = {self._parts.device_of(definition) for definition in self._parts.definitions.values()}
        return tuple(sorted({gpu if device == AUTO else device for device in would}))

    def _reading(self) -> Mapping[str, str]:
        return self._lessons.reading(self._memory.state, self._specs()) if self._lessons is not None else {}

    def _wants_experiences(self) -> Waiting | None:
        idle = self._lessons is not None and not self._lessons.searches and not self._flights
        return Waiting.EXPERIENCES if idle else None

    @property
    def _stopping(self) -> bool:
        return self._stop_wished or self._signals.stop_asked

    def _finished(self) -> bool:
        limit = self._parts.settings.run.max_iterations
        if self._lessons is not None and not self._flights and self._lessons.finished(self._memory.state):
            return True
        return self._stopping or (limit is not None and self._memory.state.iteration >= limit)

    # proposing

    def _propose(self, wishes: Wishes, requests_only: bool) -> None:
        """Make proposals durable as far as window, capacity, resources and the iteration limit allow."""
        settings = self._parts.settings
        while True:
            iteration = self._memory.state.iteration + len(self._flights) + 1
            limit = settings.run.max_iterations
            busy = sum(not (flight.waits_for_commit or flight.awaits_store) for flight in self._flights.values())
            if busy >= settings.run.workers or len(self._flights) >= self._memory.window:
                return
            if limit is not None and iteration > limit:
                return
            if requests_only and wishes.iteration is None:
                return
            asked = self._patiently(partial(self._planner.asked, iteration, wishes.iteration, self._specs()))
            wishes = Wishes(wishes.paused, wishes.stop, None)
            key = str(asked.target) if asked else self._planner.target_due(self._specs())
            if key is None or (needs_training(asked) and not self._admitter.may_begin(key, self._flights.values())):
                return
            fact = self._put_off.fact(asked) if isinstance(asked, Lesson) else None
            spec = self._planner.plan(iteration, key, asked, self._specs(), fact)
            folder = TrialFolder.of(self._parts.run_dir, iteration)
            if fact is None or not self._patiently(partial(self._put_off.take_up, spec, folder)):
                self._patiently(partial(folder.create, spec))
            if asked is not None:
                self._intake.accepted(asked)
            self._flights[iteration] = Flight.take_up(spec, folder, self._parts.clock.now_text())
            self._moved = True
            self._parts.projections.proposed(spec)

    def _specs(self) -> list[TrialSpec]:
        return [flight.spec for flight in self._flights.values()]

    # running

    def _launch(self, ready: Flight | None) -> None:
        """Start what may run; `ready` is committed next, and its winner goes into the user's file before another trial
        has that."""
        now_s = self._parts.clock.monotonic_s()
        waiting = [flight for flight in self._in_order() if flight.waits_for_process and flight.rests_until_s <= now_s]
        for flight in waiting:
            if self._parts.executor.capacity() == 0:
                return
            if not self._admitter.has_its_file(flight, self._flights.values(), ready):
                continue
            if flight.spec.problems:
                self._patiently(partial(flight.fail, Reason.OUT_OF_RANGE, "; ".join(flight.spec.problems)))
                self._moved = True
            elif (group := self._group_for(flight, waiting)) is None:
                continue  # it trains in another's process, or waits for company
            elif not self._model_files.are_whole(flight, self._in_order()):
                self._patiently(partial(flight.fail, Reason.UNKNOWN_VERSION, "a version's model file is damaged"))
                self._moved = True
            elif (place := self._admitter.place_beside(flight, self._flights.values())).admitted:
                for number in group:
                    self._patiently(partial(self._flights[number].note_device, place.device))
                begin = partial(flight.launch, self._parts.executor, self._admitter.at_once, group, place.device)
                self._patiently(begin)
            elif place.gone and self._admitter.gave_up_on(flight):
                self._patiently(partial(flight.fail, Reason.GPU_GONE, place.reason))
                self._moved = True
            elif not (place.gone or place.full):  # others may do without a GPU, or want another
                return

    def _group_for(self, flight: Flight, waiting: list[Flight]) -> tuple[int, ...] | None:
        run, cpus = self._parts.settings.run, self._parts.cpus
        size = size_of_groups(run.workers, cpus) if run.stacked else 1
        return group_for(flight, waiting, self._in_order(), cpus, size)

    def _collect(self) -> None:
        """Take in processes that ended."""
        for flight in self._in_order():
            ended = self._parts.executor.poll(flight.handle) if flight.handle is not None else None
            if ended is not None:
                self._patiently(partial(flight.landed, ended))
                self._patiently(flight.conclude)
                self._moved = True
                if ended.kind in WANTS:
                    self._rest(flight, WANTS[ended.kind])
        if self._lessons is not None:
            taken = [flight for flight in self._in_order() if flight.spec.lesson is not None]
            self._lessons.listen([(flight.spec.iteration, flight.folder.path) for flight in taken])
            for flight in taken:
                if self._memory.window == 1 and self._lessons.makes_way and flight.awaits_store:
                    self._patiently(partial(self._put_off.put, flight.folder))
                    del self._flights[flight.spec.iteration]
                    self._parts.say(f"the lesson of {flight.spec.target} is put off until its store answers")

    def _rest(self, flight: Flight, want: str) -> None:
        """A trial that found no room on the disk, or no process, goes on after a pause that grows."""
        pause_s = min(LONGEST_DISK_PAUSE_S, FIRST_DISK_PAUSE_S * 2.0 ** (flight.times_in_want - 1))
        flight.rests_until_s = self._parts.clock.monotonic_s() + pause_s
        self._parts.say(f"{want}: iteration {flight.spec.iteration} goes on in {pause_s:.0f} s")

    def _ready_to_commit(self) -> Flight | None:
        """The trial whose line is next, once it is complete. A contest that it has earned begins here, and takes the
        next free worker."""
        head = self._flights.get(self._memory.state.iteration + 1)
        if head is None or head.handle is not None or not head.stage_done:
            return None
        if self._model_files.could_not_be_read(head):
            self._model_files.are_whole(head, self._in_order())
        if head.stage == "build" and (duel := self._committer.duel_for(head)) is not None:
            self._patiently(partial(head.folder.write_duel, duel))
            self._moved = True
            return None
        return head

    def _commit(self, flight: Flight) -> None:
        self._moved = True
        record = self._patiently(partial(self._committer.commit, flight))
        del self._flights[flight.spec.iteration]
        self._patiently(partial(self._committer.follow_up, record))
        self._parts.say(line_for_people(record))
        self._back_off(record)
        self._stagnation(record)

    def _stagnation(self, record: Record) -> None:
        search = self._parts.settings.search
        since = self._memory.state.target(record.target).search.since_promotion
        now = stagnation(record.target, since, search.sampler, search.on_stagnation, search.stagnation_iterations)
        if now.event:
            self._parts.events.write("stagnation", now.event)

    def _back_off(self, record: Record) -> None:
        statuses = [line.status for line in self._memory.latest if line.purpose not in PURPOSES_OF_PEOPLE]
        delay_s = attempts.back_off_s(statuses)
        if delay_s > 0:
            self._admitter.back_off(delay_s)
            self._parts.events.write(
                "back_off", f"trials keep failing ({record.reason}); the next one starts in {delay_s / 60:.0f} min"
            )

    def _in_order(self) -> list[Flight]:
        return [self._flights[iteration] for iteration in sorted(self._flights)]

    def _facts_taken(self) -> list[Mapping[str, Json]]:
        return [fact for flight in self._flights.values() for fact in flight.spec.facts]

    # stopping, pausing, going on

    def _quiet(self) -> None:
        """Ask every running trial to save and leave; they go on when the pause, or other programs' load, ends."""
        for flight in self._in_order():
            if flight.handle is not None:
                self._parts.executor.stop(flight.handle)

    def _leave(self) -> None:
        """Trials save, the snapshot is written; within STOP_LIMIT_S whatever they do."""
        deadline_s = self._parts.clock.monotonic_s() + STOP_LIMIT_S
        self._quiet()
        while any(flight.handle is not None for flight in self._flights.values()):
            left_s = deadline_s - self._parts.clock.monotonic_s()
            for flight in self._in_order():
                if flight.handle is None:
                    continue
                if left_s <= 0:
                    self._parts.executor.stop(flight.handle, urgent=True)
                ended = self._parts.executor.poll(flight.handle)
                if ended is not None:
                    self._if_there_is_room(partial(flight.landed, ended))
                    self._if_there_is_room(flight.conclude)
                    flight.handle = None
            self._parts.executor.wait(max(0.05, min(IDLE_WAIT_S, left_s)))
        self._if_there_is_room(self._committer.snapshot)

    def _if_there_is_room(self, action: Callable[[], None]) -> None:
        """While leaving nothing waits for a full disk: the log is the truth, whatever else could not be written."""
        try:
            action()
        except DiskFullError as error:
            self._parts.say(f"disk full: {error}; left as it is")

    def _take_up_flights(self) -> None:
        """Trials that were proposed and not committed go on; folders of anything else are leftovers."""
        committed = self._memory.state.iteration
        expected = committed + 1
        for folder in all_folders(self._parts.run_dir):
            if folder.iteration <= committed:
                continue
            if folder.was_committed or folder.iteration != expected or expected > committed + self._memory.window:
                self._make_room(folder)
                continue
            spec = self._mended(folder)
            if spec is None or spec.run_id != self._parts.identity.run_id:
                self._make_room(folder)
                continue
            flight = Flight.take_up(spec, folder, self._parts.clock.now_text())
            start_over_where_it_must(flight, self._parts)
            flight.conclude()
            self._flights[expected] = flight
            self._parts.projections.proposed(spec)
            expected += 1

    def _make_room(self, folder: TrialFolder) -> None:
        """Another trial of this number comes; what this one was asked for waits again."""
        for request in asked_of(folder, self._parts.identity.run_id):
            self._intake.put_back(request, f"{folder.path} did not end in a line of the log, or that is gone")
        if problem := folder.make_room():
            self._parts.events.write("not_removed", problem)

    def _mended(self, folder: TrialFolder) -> TrialSpec | None:
        """What the trial is told, proposed again if somebody damaged it; None where it never was."""
        mended = mend(folder)
        for problem in mended.problems:
            self._parts.events.write("trial_damaged", problem)
        fact = fact_asked(folder.facts())
        if not mended.proposal_lost and (fact is None or folder.spec() is not None):
            return folder.spec()
        asked = asked_in(fact) if fact is not None else None
        key = str(asked.target) if asked is not None else self._planner.target_due(self._specs())
        if key in self._parts.definitions:
            folder.create(self._planner.plan(folder.iteration, str(key), asked, self._specs(), fact))
            return folder.spec()
        return None

    def _patiently(self, action: Callable[[], T]) -> T:
        """The action, tried again with growing pauses as long as the disk is full."""
        pause_s = FIRST_DISK_PAUSE_S
        while True:
            try:
                return action()
            except DiskFullError as error:
                self._parts.say(f"disk full: {error}; trying again in {pause_s:.0f} s")
                if self._stopping:
                    raise
                self._pause(pause_s)
                pause_s = min(pause_s * 2, LONGEST_DISK_PAUSE_S)

    def _pause(self, pause_s: float) -> None:
        """Wait for room on the disk, in turns: trials and the service manager are looked after meanwhile."""
        while pause_s > 0 and not self._stopping:
            wait_readable([self._signals.descriptor], min(IDLE_WAIT_S, pause_s))
            self._parts.executor.wait(0)
            self._tell(Waiting.DISK)
            pause_s -= IDLE_WAIT_S
