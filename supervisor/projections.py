"""What is derived from the log for others: `config.yaml`, `active.json`, the server, the dashboard, an external user's
file, retention. Each is idempotent and brought up to date at the start, so a crash between commit and projection is
healed by starting again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from supervisor.config.best import best_config
from supervisor.config.settings import Settings
from supervisor.contract import TrialSpec, Version
from supervisor.external.command_settings import parse_command
from supervisor.external.in_place import restore_leftovers
from supervisor.external.winner import write_winner
from supervisor.journal import durable
from supervisor.journal.events import Events
from supervisor.journal.trial_folder import TrialFolder, all_folders
from supervisor.record import Record
from supervisor.registry.active import ActiveFile
from supervisor.registry.delivery import ReloadDelivery
from supervisor.registry.store import ModelStore
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
    ) -> None:
        self._run_dir = run_dir
        self._settings = settings
        self._definitions = definitions
        self._store = store
        self._events = events
        self._delivery = delivery
        self._projector = projector

    def catch_up(self, state: State, records: list[Record]) -> None:
        """Whatever a crash left undone is done now."""
        for definition in self._definitions.values():
            self._give_back_user_file(definition)
        self._publish(state, changed=None)
        for folder in all_folders(self._run_dir):
            if folder.iteration <= state.iteration:
                self._retire(folder, state)
        self._store.retain(_kept_files(state))
        if self._projector is not None:
            self._projector.catch_up(records)

    def proposed(self, spec: TrialSpec) -> None:
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
        if record.version is not None:
            self._publish(state, changed=record.target)
        folder.tidy()
        self._retire(TrialFolder.of(self._run_dir, record.iteration - self._settings.run.retention_trials), state)
        if self._projector is not None:
            self._projector.finished(record)

    def close(self, hurried: bool = False) -> None:
        projector_s, delivery_s = HURRIED_CLOSE_S if hurried else CLOSE_S
        if self._projector is not None:
            self._projector.close(timeout_s=projector_s)
        if self._delivery is not None:
            self._delivery.close(timeout_s=delivery_s)

    def _publish(self, state: State, changed: str | None) -> None:
        """The files that name what is best and what is in production, then whoever serves or plays it."""
        incumbents = _incumbents(state)
        text = best_config(incumbents, self._settings)
        if not _holds(self._run_dir / CONFIG_NAME, text):
            durable.write_atomic(self._run_dir / CONFIG_NAME, text)
        ActiveFile.of(incumbents).write(self._run_dir)
        for key in incumbents if changed is None else [changed]:
            self._deliver(key, incumbents.get(key))

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
        for note in write_winner(command.config_file, command.format, version, marker).notes:
            self._events.write("user_file", note)

    def _retire(self, folder: TrialFolder, state: State) -> None:
        """Beyond the last trials only promotions keep their folder; the weights of committed ones are gone anyhow."""
        if folder.iteration <= 0:
            return
        folder.tidy()
        promoted = {version.iteration for target in state.targets.values() for version in target.versions.values()}
        if (
            folder.iteration <= state.iteration - self._settings.run.retention_trials
            and folder.iteration not in promoted
        ):
            folder.remove()


def _incumbents(state: State) -> dict[str, Version]:
    return {key: target.incumbent for key, target in state.targets.items() if target.incumbent is not None}


def _kept_files(state: State) -> set[str]:
    versions = [version for target in state.targets.values() for version in target.versions.values()]
    return {sha for version in versions for sha in (version.model_sha256, version.weights_sha256) if sha is not None}


def _holds(path: Path, text: bytes) -> bool:
    return path.exists() and path.read_bytes() == text
