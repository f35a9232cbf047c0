"""What is derived from the log for others: `config.yaml`, `active.json`, the server, the dashboard, an external user's
file, retention. Each is idempotent and brought up to date at the start, so a crash between commit and projection is
healed by starting again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from supervisor.config.best import best_config
from supervisor.config.settings import Settings
from supervisor.contract import Params, TrialSpec, Version
from supervisor.external.command_settings import parse_command
from supervisor.external.in_place import restore_leftovers
from supervisor.external.winner import write_winner
from supervisor.journal import durable
from supervisor.journal.durable import DiskFullError
from supervisor.journal.events import Events
from supervisor.journal.trial_folder import TrialFolder, all_folders
from supervisor.record import Record
from supervisor.registry.active import ActiveFile
from supervisor.registry.bookkeeper import Bookkeeper
from supervisor.registry.delivery import ReloadDelivery
from supervisor.registry.store import ModelStore
from supervisor.retention import Kind, Limits, is_kept, needed_files, needless
from supervisor.search.projector import Projector
from supervisor.search.target import TargetDefinition
from supervisor.state import State

CONFIG_NAME = "config.yaml"
CLOSE_S = (10.0, 5.0)  # for the dashboard's database and for the server, at a normal end
HURRIED_CLOSE_S = (1.5, 1.0)  # when somebody waits for the stop; the next start completes the rest
WRITTEN_FOLDER = "external"  # which version was written into which user's file


class RunProjections:
    """All projections of one run folder."""

    def __init__(
        self,
        run_dir: Path,
        settings: Settings,
        definitions: Mapping[str, TargetDefinition],
        store: ModelStore,
        events: Events,
        delivery: ReloadDelivery | None,
        projector: Projector | None,
        recent: Sequence[State] = (),
        bookkeeper: Bookkeeper | None = None,
    ) -> None:
        """`recent` are the last W states, kept current by the loop: proposals are still made from the oldest."""
        self._run_dir = run_dir
        self._settings = settings
        self._definitions = definitions
        self._store = store
        self._events = events
        self._delivery = delivery
        self._projector = projector
        self._recent = recent
        self._bookkeeper = bookkeeper
        self._limits = Limits.of(settings)
        self._flying: dict[int, TrialSpec] = {}
        self._needed: frozenset[str] | None = None  # what the store was last asked to keep
        self._told: set[str] = set()  # what would not go
        self._owed: dict[str, Version] = {}  # winners, by target, that are not in the user's file yet

    def catch_up(self, state: State) -> None:
        """Whatever a crash left undone is done now."""
        for definition in self._definitions.values():
            self._give_back_user_file(definition)
        self._publish(state, changed=None)
        left: list[str] = []
        for folder in all_folders(self._run_dir):
            if folder.iteration <= state.iteration:
                left += folder.tidy()
        for item in needless(self._run_dir, self._recent or [state], self._limits):
            if item.kind is not Kind.CONSOLES:  # whose logs they are is known to who opened the newest
                left.append(item.remove())
        self._tell_left(left)
        if self._projector is not None:
            self._projector.catch_up()

    def proposed(self, spec: TrialSpec) -> None:
        self._flying[spec.iteration] = spec
        if self._projector is not None and spec.purpose != "manual":
            self._projector.running(spec)

    def committed(self, record: Record, state: State) -> None:
        folder = TrialFolder.of(self._run_dir, record.iteration)
        for fact in folder.facts():
            if fact["fact"] == "user_file":
                self._events.write("user_file", str(fact["event"]))
        definition = self._definitions.get(record.target)
        if definition is not None:
            self._give_back_user_file(definition)
        if record.version is not None or record.goes_back:
            self._publish(state, changed=record.target)
        self._write_what_is_owed()
        self._tell_left(folder.tidy())
        self._flying.pop(record.iteration, None)
        self._retire(record.iteration - self._limits.trials, state)
        self._retain(state)
        if self._projector is not None:
            self._projector.finished(record)
        if self._bookkeeper is not None:
            self._bookkeeper.committed(record)

    def close(self, hurried: bool = False) -> None:
        """No trial runs any more."""
        projector_s, delivery_s = HURRIED_CLOSE_S if hurried else CLOSE_S
        with contextlib.suppress(DiskFullError):  # the next start writes it
            self._write_what_is_owed()
        if self._projector is not None:
            self._projector.close(timeout_s=projector_s)
        if self._delivery is not None:
            self._delivery.close(timeout_s=delivery_s)
        if self._bookkeeper is not None:
            self._bookkeeper.close(timeout_s=projector_s)

    def _publish(self, state: State, changed: str | None) -> None:
        """The files that name what is best and what is in production, then whoever serves or plays it."""
        incumbents = _incumbents(state)
        text = best_config(incumbents, self._settings, self._adapted(incumbents))
        if not _holds(self._run_dir / CONFIG_NAME, text):
            durable.write_atomic(self._run_dir / CONFIG_NAME, text)
        ActiveFile.of(incumbents).write(self._run_dir)
        for key in incumbents if changed is None else [changed]:
            self._deliver(key, incumbents.get(key))

    def _adapted(self, incumbents: Mapping[str, Version]) -> dict[str, Params]:
        """Values of incumbents that their search space, changed since, would refuse in a configuration file."""
        nearest = {
            key: self._definitions[key].nearest(version.params)
            for key, version in incumbents.items()
            if key in self._definitions
        }
        return {key: params for key, params in nearest.items() if params != incumbents[key].params}

    def _deliver(self, key: str, version: Version | None) -> None:
        definition = self._definitions.get(key)
        if version is None:
            return
        if version.interface is not None:
            if self._delivery is not None:
                self._delivery.changed(key, version.name)
        elif definition is not None and definition.kind == "command":
            self._write_user_file(definition, version)

    def _give_back_user_file(self, definition: TargetDefinition) -> None:
        """A trial that was killed while it played with the user's own file could not give it back."""
        if definition.kind != "command":
            return
        command = parse_command(definition.settings, Path())
        if command.in_place:
            for note in restore_leftovers([command.config_file]):
                self._events.write("user_file", note)

    def _write_user_file(self, definition: TargetDefinition, version: Version) -> None:
        """An external target's winner goes into the user's own file, once per version."""
        command = parse_command(definition.settings, Path())
        marker = self._run_dir / WRITTEN_FOLDER / f"{definition.key.replace('/', '.')}.json"
        self._owed[definition.key] = version
        written = write_winner(command.config_file, command.format, version, marker)
        if written.done:
            del self._owed[definition.key]
        for note in written.notes:
            if written.done or note not in self._told:
                self._events.write("user_file", note)
        self._told.update(written.notes)

    def _write_what_is_owed(self) -> None:
        """A winner whose file a trial had, or that the user's file did not admit, is tried again after every trial."""
        for key, version in list(self._owed.items()):
            self._write_user_file(self._definitions[key], version)

    def _retire(self, iteration: int, state: State) -> None:
        """Beyond the last trials only promotions keep their folder."""
        if iteration > 0 and not is_kept(state, iteration):
            self._tell_left([TrialFolder.of(self._run_dir, iteration).remove()])

    def _tell_left(self, problems: Iterable[str]) -> None:
        """What would not go is tried again at every start, and told once in each."""
        new = [problem for problem in dict.fromkeys(problems) if problem and problem not in self._told]
        self._told.update(new)
        if new:
            self._events.write("not_removed", new[0] + (f"; and {len(new) - 1} more like it" if new[1:] else ""))

    def _retain(self, state: State) -> None:
        """Model files that nothing can ask for any more go."""
        needed = needed_files(self._recent or [state], self._flying.values(), self._limits.versions)
        if needed != self._needed:
            self._store.retain(needed)
            self._needed = needed


def _incumbents(state: State) -> dict[str, Version]:
    return {key: target.incumbent for key, target in state.targets.items() if target.incumbent is not None}


def _holds(path: Path, text: bytes) -> bool:
    return path.exists() and path.read_bytes() == text
