"""Requests from outside: which of them act at once, and which become the next iteration."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path

from supervisor.contract import Json, as_json, parse
from supervisor.journal import requests
from supervisor.journal.events import Events
from supervisor.journal.requests import Action, Request
from supervisor.journal.trial_folder import DamagedTrialError, TrialFolder


@dataclass(frozen=True)
class Wishes:
    """What the waiting requests amount to."""

    paused: bool
    stop: bool
    iteration: Request | None  # the oldest request that becomes an iteration


class Intake:
    """Reads `requests/`. A pause lies there until a later resume takes both away, so it survives a restart."""

    def __init__(self, run_dir: Path, events: Events, targets: Collection[str]) -> None:
        self._run_dir = run_dir
        self._events = events
        self._targets = targets
        self._told: set[str] = set()
        self._stuck: set[str] = set()  # carried out, and could not be removed

    def look(self, taken: Collection[str], manual_only: bool = False) -> Wishes:
        """Consume what acts at once. `taken` are ids that trials in flight already carry as facts. What has to be
        trained is left for a run that trains if `manual_only`."""
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
        return Wishes(bool(paused), stop, iterations[0] if iterations else None)

    def _resume(self, paused: list[Request], resume: Request) -> None:
        for request in [*paused, resume]:
            self.done(request.id)
        if paused:
            self._events.write("resumed", "asked by a request")

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


def fact_of(request: Request) -> dict[str, Json]:
    """The request as a fact of the trial that carries it out."""
    return {"fact": "request", **as_json(request)}


def asked_of(folder: TrialFolder, run_id: str) -> list[Request]:
    """The requests that a trial of this run consumed, as far as its folder can be read."""
    try:
        spec = folder.spec()
    except DamagedTrialError:
        spec = None
    if spec is not None and spec.run_id != run_id:
        return []
    with contextlib.suppress(OSError, ValueError):
        return [request_of(fact) for fact in folder.facts() if fact["fact"] == "request"]
    return []


def request_of(fact: dict[str, Json]) -> Request:
    """Back from a fact, which may say more. Raises ValueError."""
    names = {field.name for field in fields(Request)}
    return parse(Request, {name: value for name, value in fact.items() if name in names})
