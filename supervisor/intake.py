"""What is asked or told from outside: which of it acts at once, and which becomes the next iteration."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

from supervisor.contract import Json, as_json, parse
from supervisor.journal import requests
from supervisor.journal.events import Events
from supervisor.journal.requests import Action, Request
from supervisor.journal.trial_folder import DamagedTrialError, TrialFolder
from supervisor.lesson import LESSON_FACT, Lesson
from supervisor.registry import server_rollbacks
from supervisor.registry.server_rollbacks import ServerRollback
from supervisor.state import TargetState

Asked = Request | ServerRollback | Lesson
"""What becomes an iteration of its own: somebody asked for it, the server has done it, or enough was played."""

T = TypeVar("T", Request, ServerRollback, Lesson)

ROLLBACK_FACT, REQUEST_FACT = "server_rollback", "request"
FACTS: Mapping[type, str] = {Request: REQUEST_FACT, ServerRollback: ROLLBACK_FACT, Lesson: LESSON_FACT}


@dataclass(frozen=True)
class Wishes:
    """What the waiting requests amount to."""

    paused: bool
    stop: bool
    iteration: Asked | None  # becomes the next iteration: a rollback of the server's, or the oldest request


class Intake:
    """Reads `requests/`. A pause lies there until a later resume takes both away, so it survives a restart."""

    def __init__(self, run_dir: Path, events: Events, targets: Collection[str]) -> None:
        self._run_dir = run_dir
        self._events = events
        self._targets = targets
        self._told: set[str] = set()
        self._stuck: set[str] = set()  # carried out, and could not be removed

    def look(
        self,
        facts: Collection[Mapping[str, Json]],
        targets: Mapping[str, TargetState],
        manual_only: bool = False,
    ) -> Wishes:
        """Consume what acts at once. `facts` are those that trials in flight already carry, `targets` the state. What
        has to be trained is left for a run that trains if `manual_only`."""
        taken = {str(fact.get("id")) for fact in facts}
        waiting, problems = requests.waiting(self._run_dir)
        for problem in problems:
            self._once(problem, "request_ignored", problem)
        paused: list[Request] = []
        stop = False
        iterations: list[Request] = []
        for request in waiting:
            if self._is_stuck(request):
                continue
            if request.id in taken:
                self.done(request.id)
            elif request.action is Action.PAUSE:
                paused.append(request)
            elif request.action is Action.RESUME:
                self._resume(paused, request)
                paused = []
            elif request.action is Action.STOP:
                stop = True
                self._events.write("stop", "asked by a request")
                self.done(request.id)
            elif request.target not in self._targets:
                reason = f"{request.action.value} of {request.target}: this start does not search that target"
                self._once(request.id, "request_waits", f"{reason}; name it in --targets or --config")
            elif not (manual_only and request.action is Action.ENQUEUE):
                iterations.append(request)
        for request in paused:
            self._once(request.id, "paused", "asked by a request; incumbent resume goes on")
        asked = self._rolled_back(facts, targets) or next(iter(iterations), None)
        return Wishes(bool(paused), stop, asked)

    def _rolled_back(
        self, facts: Collection[Mapping[str, Json]], targets: Mapping[str, TargetState]
    ) -> ServerRollback | None:
        """The server's oldest rollback that neither the state nor a trial in flight accounts for."""
        found = server_rollbacks.read(self._run_dir)
        for problem in found.problems:
            self._once(problem, "rollback_ignored", problem)
        judged = server_rollbacks.judge(found.entries, targets)
        for entry in judged.unknown:
            reason = f"the server rolled {entry.version} of {entry.target} back ({entry.why})"
            self._once(f"unknown {entry.id}", "rollback_unknown", f"{reason}; log and snapshot know no such version")
        taken = {(fact.get("target"), fact.get("version")) for fact in facts if fact["fact"] == ROLLBACK_FACT}
        for entry in judged.waiting:
            if entry.target not in self._targets:
                reason = f"rollback of {entry.target}: this start does not search that target"
                self._once(f"waits {entry.id}", "request_waits", f"{reason}; name it in --targets or --config")
            elif (entry.target, entry.version) not in taken:
                return entry
        return None

    def _resume(self, paused: list[Request], resume: Request) -> None:
        for request in [*paused, resume]:
            self.done(request.id)
        if paused:
            self._events.write("resumed", "asked by a request")

    def accepted(self, asked: Asked) -> None:
        """It is a fact of a trial now."""
        if isinstance(asked, Request):  # the server's file is its own
            self.done(asked.id)

    def done(self, request_id: str) -> None:
        """Remove a consumed request. One that would not go is not carried out a second time by this start."""
        try:
            requests.done(self._run_dir, request_id)
        except PermissionError as error:
            self._stuck.add(request_id)
            self._once(
                f"stuck {request_id}", "request_ignored", f"{error.filename}: could not be removed; {requests.RIGHTS}"
            )

    def put_back(self, request: Request, why: str) -> None:
        """Let a request that was consumed wait again, before the last that tells of it goes."""
        name = f"{request.action.value} of {request.target}"
        try:
            requests.drop(self._run_dir, request)
        except PermissionError as error:
            self._events.write("request_ignored", f"{name}: {why}; ask again: {error.filename} cannot be written")
        else:
            self._events.write("request_again", f"{name} waits again: {why}")

    def _is_stuck(self, request: Request) -> bool:
        if request.id in self._stuck:
            return True
        try:
            problem = requests.why_stuck(self._run_dir, request.id)
        except FileNotFoundError:  # taken back by its author
            return True
        if problem:
            self._once(problem, "request_ignored", problem)
        return bool(problem)

    def _once(self, key: str, event: str, reason: str) -> None:
        if key not in self._told:
            self._told.add(key)
            self._events.write(event, reason)


def fact_of(asked: Asked) -> dict[str, Json]:
    """What was asked as a fact of the trial that carries it out."""
    return {"fact": FACTS[type(asked)], **as_json(asked)}


def fact_asked(facts: Iterable[dict[str, Json]]) -> dict[str, Json] | None:
    """That fact, if the trial carries anything out."""
    return next((fact for fact in facts if fact["fact"] in FACTS.values()), None)


def rollback_in(facts: Sequence[Mapping[str, Json]]) -> ServerRollback | None:
    """The server's rollback that a trial with these facts follows, if it does."""
    return next((_parsed(ServerRollback, fact) for fact in facts if fact.get("fact") == ROLLBACK_FACT), None)


def lesson_in(facts: Sequence[Mapping[str, Json]]) -> Lesson | None:
    """The lesson that a trial with these facts is, if it is one."""
    return next((_parsed(Lesson, fact) for fact in facts if fact.get("fact") == LESSON_FACT), None)


def asked_in(fact: Mapping[str, Json]) -> Asked:
    """Back from a fact, which may say more. Raises ValueError."""
    if fact["fact"] == LESSON_FACT:
        return _parsed(Lesson, fact)
    return _parsed(Request, fact) if fact["fact"] == REQUEST_FACT else _parsed(ServerRollback, fact)


def needs_training(asked: Asked | None) -> bool:
    """Whether a trial runs for it; one does where nobody asked."""
    return asked is None or isinstance(asked, Lesson) or (isinstance(asked, Request) and asked.action is Action.ENQUEUE)


def asked_of(folder: TrialFolder, run_id: str) -> list[Request]:
    """The requests that a trial of this run consumed, as far as its folder can be read."""
    try:
        spec = folder.spec()
    except DamagedTrialError:
        spec = None
    if spec is not None and spec.run_id != run_id:
        return []
    with contextlib.suppress(OSError, ValueError):
        return [_parsed(Request, fact) for fact in folder.facts() if fact["fact"] == REQUEST_FACT]
    return []


def _parsed(cls: type[T], fact: Mapping[str, Json]) -> T:
    names = {field.name for field in fields(cls)}
    return parse(cls, {name: value for name, value in fact.items() if name in names})
