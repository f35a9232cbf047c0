"""A lesson whose store stays silent, where every proposal sees the line before it: its number goes to the search, and
its folder aside, until the store answers. Then it has another number and goes on with its seeds where it was."""

from __future__ import annotations

from pathlib import Path

from supervisor.contract import Json, TrialSpec
from supervisor.execution.device import kind_of
from supervisor.experience.outages import OUTAGES_NAME
from supervisor.intake import fact_asked, fact_of
from supervisor.journal import durable, removal, sealed
from supervisor.journal.trial_folder import FACTS_NAME, FOLDER_NAME, DamagedTrialError, TrialFolder
from supervisor.lesson import BEGUN_IN, Lesson

NAME = "put_off"
TRAINING = ("kind", "params", "level", "scale", "budget", "start", "settings", "rules", "lesson")
"""What a training from play depends on, besides its seed, the libraries' versions and the kind of its device."""


class PutOff:
    """At most one lesson: as long as it waits no other one begins."""

    def __init__(self, run_dir: Path) -> None:
        self._trials = run_dir / FOLDER_NAME
        self._path = self._trials / NAME

    def put(self, folder: TrialFolder) -> None:
        """The trial's number is free afterwards. Killed before, it is in flight as before."""
        removal.clear_place(self._path)
        folder.path.rename(self._path)
        durable.sync_folder(self._trials)

    def fact(self, lesson: Lesson) -> dict[str, Json] | None:
        """Of the trial that takes it up: the iteration that it began in, whose seeds it keeps. None where it is not the
        one that was put off: of that another version has become the incumbent, and it goes."""
        spec = self._spec()
        if spec is None or spec.lesson != lesson:
            removal.clear_place(self._path)
            return None
        begun_in = (fact_asked(dict(fact) for fact in spec.facts) or {}).get(BEGUN_IN, spec.iteration)
        return {**fact_of(lesson), BEGUN_IN: begun_in}

    def take_up(self, spec: TrialSpec, folder: TrialFolder) -> bool:
        """Make the folder that of the trial, with all that was saved. False where it is not there, or was another
        training. Killed before the last step, it is put off as before."""
        before, aside = self._spec(), TrialFolder(self._path)
        if before is None or any(getattr(before, name) != getattr(spec, name) for name in TRAINING):
            return False
        facts = aside.facts()
        under = [fact["versions"] for fact in facts if fact["fact"] == "versions"] or [dict(before.versions)]
        if under[-1] != dict(spec.versions) or kind_of(before.device) != kind_of(spec.device):
            return False
        if (self._path / OUTAGES_NAME).exists():
            durable.remove(self._path / OUTAGES_NAME)
        kept = [*map(dict, spec.facts), *(fact for fact in facts if fact["fact"] == "device")]
        durable.write_atomic(self._path / FACTS_NAME, b"".join(map(sealed.encode_line, kept)))
        aside.create(spec)
        self._path.rename(folder.path)
        durable.sync_folder(self._trials)
        return True

    def _spec(self) -> TrialSpec | None:
        try:
            return TrialFolder(self._path).spec()
        except DamagedTrialError:
            return None
