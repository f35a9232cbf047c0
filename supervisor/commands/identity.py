"""Who the run in a folder is, and what today's settings change about it."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from supervisor.config.load import Loaded
from supervisor.contract import Json
from supervisor.journal.identity import RunIdentity, first_window, load_identity, run_id_of
from supervisor.search.changes import description_of, differences
from supervisor.search.setup import Setup
from supervisor.state import State

SEED = "run.seed"
RETENTION = ("retention_trials", "retention_versions", "retention_console_logs")
SERVING = ("host", "port", "admin_host", "admin_port")


@dataclass(frozen=True)
class Identified:
    """`before` is what `run.json` says, None at the folder's first start; `now` what it is to say."""

    before: RunIdentity | None
    now: RunIdentity
    changes: tuple[str, ...] = ()  # a sentence each


def with_folders_seed(run_dir: Path, setup: Setup) -> Setup:
    """The setup with the seed that the folder was started with last, unless a seed is given: nobody who leaves out a
    flag means to change every random choice."""
    known = load_identity(run_dir) if run_dir.is_dir() else None
    if known is None or setup.loaded.sources[SEED] != "default":
        return setup
    settings = setup.settings
    settings = settings.model_copy(update={"run": settings.run.model_copy(update={"seed": _seed(known)})})
    sources = {**setup.loaded.sources, SEED: f"{run_dir}: its last start"}
    return replace(setup, loaded=replace(setup.loaded, settings=settings, sources=sources))


def as_last_started(run_dir: Path, setup: Setup) -> Setup:
    """The setup of a command on a stopped run: what it keeps and which server it tells are those of the run's last
    start, unless they are given."""
    known = load_identity(run_dir)
    return setup if known is None else replace(setup, loaded=remembering(known, setup.loaded))


def remembering(known: RunIdentity, loaded: Loaded) -> Loaded:
    """The settings as `run.json` has them from the last start, where nobody gives another value."""
    settings = loaded.settings
    kept = {name: value for name, value in known.retention.items() if loaded.sources[f"run.{name}"] == "default"}
    told = {name: value for name, value in known.serving.items() if loaded.sources[f"serving.{name}"] == "default"}
    run, serving = settings.run.model_copy(update=kept), settings.serving.model_copy(update=told)
    return replace(loaded, settings=settings.model_copy(update={"run": run, "serving": serving}))


def _seed(known: RunIdentity) -> int:
    seed = known.decides.get(SEED, known.seed)
    return seed if isinstance(seed, int) else known.seed


def identify(run_dir: Path, setup: Setup) -> Identified:
    """The folder's identity as its first start fixed it, brought up to what today's settings say."""
    run, decides = setup.settings.run, setup.decides()
    spaces: dict[str, Json] = {key: description_of(target) for key, target in setup.targets.items()}
    retention = {name: cast(int, getattr(run, name)) for name in RETENTION}
    serving = {name: cast(Json, getattr(setup.settings.serving, name)) for name in SERVING}
    known = load_identity(run_dir)
    if known is not None:
        now = replace(known, seed=run.seed, decides=decides, spaces=spaces, retention=retention, serving=serving)
        return Identified(known, now, tuple(changes(known, now)))
    window = first_window(run.workers)
    run_id = run.run_id or run_id_of(run.seed, window, decides)
    folder_id = uuid.uuid4().hex
    return Identified(None, RunIdentity(run_id, run.seed, window, folder_id, decides, spaces, retention, serving))


def changes(before: RunIdentity, now: RunIdentity) -> list[str]:
    """What decides results and is not as it was, a sentence each."""
    old, new = before.decides, now.decides
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return [f"{words}; applies from the next iteration" for name in names for words in _words(name, before, now)]


def _words(name: str, before: RunIdentity, now: RunIdentity) -> list[str]:
    target = name.removeprefix("targets.")
    if target == name:
        return [f"{name}: {_shown(before.decides.get(name))} -> {_shown(now.decides.get(name))}"]
    if name not in before.decides:
        return [f"{target} is searched too"]
    if name not in now.decides:
        return [f"{target} is no longer searched"]
    old, new = before.spaces.get(target), now.spaces.get(target)
    found = differences(old, new) if isinstance(old, dict) and isinstance(new, dict) else []
    return [f"{target}: {words}" for words in found] or [f"{target} has changed"]


def outside_their_space(state: State, setup: Setup, changed: Identified) -> list[str]:
    """A sentence for each incumbent that a search space changed since the last start no longer admits."""
    found = []
    for key, definition in setup.targets.items():
        incumbent = state.target(key).incumbent
        if incumbent is None or changed.before is None or not _has_changed(key, changed.before, changed.now):
            continue
        wrong = definition.misfits(incumbent.params)
        if wrong:
            values = ", ".join(f"{name} {json.dumps(incumbent.params[name])}" for name in wrong)
            found.append(
                f"{key}: {incumbent.name} has {values}, which its search space no longer admits; it stays in production"
                " until something else is proven better, and the search goes on from the nearest values that fit"
            )
    return found


def _has_changed(key: str, before: RunIdentity, now: RunIdentity) -> bool:
    name = f"targets.{key}"
    return before.decides.get(name) != now.decides.get(name)


def _shown(value: Json) -> str:
    return "not set" if value is None else json.dumps(value)
