"""Minari datasets: a folder of episodes, each with one observation more than it has steps.

What is read: observations and actions of numbers (Box), or actions of a few (Discrete); 64-bit floats are rounded to 32
bits. An episode that was cut (truncated) does not end in the store's sense: where its last step led is known and learnt
from. What is written has all columns, the store's own among the infos; lost is the order in which rows of different
episodes were stored.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import minari
import numpy as np
from minari.data_collector.episode_buffer import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage
from numpy.typing import NDArray

from supervisor.experience.rows import Experiences, episode_number, joined
from supervisor.experience.transport.source import WHOLE, SourceError, narrowed

DATA = "data"
METADATA = "metadata.json"
SPACES = ("observation_space", "action_space")
TARGET = "incumbent_target"
OWN = ("actions", "priorities", "episodes", "steps", "versions", "times")
READ_EPISODES = 64
"""Read with one opening of the file, which remembers all that it has seen."""
OPEN_ROWS = 65536
"""Rows of episodes that have not ended yet are held in memory, these at most; then the longest is written as cut."""


def data_folder(path: Path) -> Path | None:
    """Where the dataset's files lie: the folder itself or its `data`; None where it is no dataset."""
    return next((folder for folder in (path / DATA, path) if (folder / METADATA).is_file()), None)


class MinariFolder:
    """A Source. Raises SourceError where the folder holds no dataset that can be read."""

    def __init__(self, path: Path) -> None:
        self._folder = data_folder(path) or path
        try:
            self._metadata: Mapping[str, Any] = json.loads((self._folder / METADATA).read_bytes())
            lacking = [name for name in SPACES if not isinstance(self._metadata.get(name), str)]
        except (OSError, ValueError, AttributeError) as error:
            raise SourceError(f"its {METADATA} cannot be read ({error}); fetch the dataset again") from error
        if lacking:  # Minari would make the environment that the file names, and run its code
            raise SourceError(f"its {METADATA} does not say {' and '.join(lacking)}; write it with a newer Minari")
        try:
            self._storage = MinariStorage.read(self._folder)
        except (OSError, ValueError, KeyError, TypeError, NotImplementedError, AssertionError, ImportError) as error:
            raise SourceError(f"is no dataset that Minari can read ({error}); fetch it again") from error

    @property
    def target(self) -> str | None:
        found = self._metadata.get(TARGET)
        return found if isinstance(found, str) else None

    def mistakes(self) -> list[str]:
        seen, acted = self._storage.observation_space, self._storage.action_space
        found = []
        if type(seen).__name__ != "Box":
            found.append(f"its observations are {type(seen).__name__}; flatten them to one Box of numbers each")
        if type(acted).__name__ not in ("Box", "Discrete"):
            found.append(f"its actions are {type(acted).__name__}; make them one Discrete, or one Box of numbers")
        return found

    def blocks(self, time_us: int) -> Iterator[Experiences]:
        """An episode each."""
        try:
            count = self._storage.total_episodes
            for first in range(0, count, READ_EPISODES):
                for episode in self._storage.get_episodes(range(first, min(first + READ_EPISODES, count))):
                    if len(episode["rewards"]):
                        yield self._experiences(episode, time_us)
        except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
            if isinstance(error, SourceError):
                raise
            raise SourceError(f"an episode cannot be read ({error}); fetch the dataset again") from error

    def _experiences(self, episode: Mapping[str, Any], time_us: int) -> Experiences:
        count, number = len(episode["rewards"]), episode["id"]
        seen = np.asarray(episode["observations"], np.float32).reshape(count + 1, -1)
        acted = np.asarray(episode["actions"])
        few = type(self._storage.action_space).__name__ == "Discrete"
        infos = episode.get("infos") or {}
        own = {name: np.asarray(infos[name])[1:] for name in OWN if name in infos}
        whole = {name: narrowed(own[name], WHOLE[name]) for name in WHOLE if name in own}
        rows = Experiences.of(
            seen[:-1],
            narrowed(acted.reshape(count), np.int32) if few else acted.reshape(count, -1),
            episode["rewards"],
            seen[1:],
            episode["terminations"],
            time_us=time_us,
            priorities=own.get("priorities"),
            episodes=whole.get("episodes", episode_number(f"{self.target} {number}")),
            steps=whole.get("steps", np.arange(count)),
            versions=whole.get("versions"),
            times=whole.get("times"),
        )
        if few or "actions" not in whole:
            return rows
        return Experiences(**{**vars(rows), "actions": whole["actions"]})


class MinariWriter:
    """Rows into a new dataset, as HDF5. A step that does not follow the one before of its episode begins an episode of
    its own; one that neither ends nor goes on is written as truncated."""

    def __init__(self, path: Path, target: str) -> None:
        self._folder, self._target = path / DATA, target
        self._storage: Any = None
        self._open: dict[int, list[Experiences]] = {}
        self._held = 0

    def write(self, rows: Experiences) -> None:
        """Raises ValueError where the rows are of another width than those before."""
        if self._storage is None:
            self._storage = self._new(rows)
        self._storage.update_episodes(self._ended(rows))

    def close(self) -> None:
        if self._storage is None:
            raise ValueError("there are no rows; a Minari dataset has at least one")
        self._storage.update_episodes([_buffer(joined(parts)) for parts in self._open.values()])
        metadata = self._folder / METADATA
        named = {"dataset_id": f"{self._target}-v0", "minari_version": minari.__version__, TARGET: self._target}
        metadata.write_text(json.dumps({**json.loads(metadata.read_bytes()), **named}))

    def _new(self, rows: Experiences) -> Any:
        from gymnasium import spaces

        seen = spaces.Box(-np.inf, np.inf, (rows.width,), np.float32)
        controls = rows.controls.shape[1]
        choices = 2**31 - 1  # how many there are, the store does not say
        acted = spaces.Box(-np.inf, np.inf, (controls,), np.float32) if controls else spaces.Discrete(choices)
        self._folder.mkdir(parents=True)
        return MinariStorage.new(self._folder, seen, acted)

    def _ended(self, rows: Experiences) -> Iterator[EpisodeBuffer]:
        for run in _runs(rows):
            number = int(run.episodes[0])
            before = self._open.get(number)
            if before is not None and not _follows(before[-1], run):
                yield self._taken(number)
            self._open.setdefault(number, []).append(run)
            self._held += len(run)
            if run.done[-1]:
                yield self._taken(number)
            while self._held > OPEN_ROWS:
                yield self._taken(max(self._open, key=lambda name: sum(map(len, self._open[name]))))

    def _taken(self, number: int) -> EpisodeBuffer:
        rows = joined(self._open.pop(number))
        self._held -= len(rows)
        return _buffer(rows)


def _runs(rows: Experiences) -> Iterator[Experiences]:
    """Neighbours that are of one episode and lead to one another."""
    goes_on = (
        (rows.episodes[1:] == rows.episodes[:-1])
        & (rows.steps[1:].astype(np.int64) == rows.steps[:-1].astype(np.int64) + 1)
        & ~rows.done[:-1]
        & _equal_rows(rows.next_states[:-1], rows.states[1:])
    )
    edges = [0, *(np.flatnonzero(~goes_on) + 1).tolist(), len(rows)]
    for begin, end in itertools.pairwise(edges):
        yield rows.where(slice(begin, end))


def _follows(before: Experiences, after: Experiences) -> bool:
    """`-0.0` and `0.0` are different numbers here: what comes back is to be the same bits."""
    stepped = int(after.steps[0]) == int(before.steps[-1]) + 1
    return stepped and bool(_equal_rows(before.next_states[-1:], after.states[:1])[0])


def _equal_rows(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray((one.view(np.uint32) == other.view(np.uint32)).all(axis=1))


def _buffer(rows: Experiences) -> EpisodeBuffer:
    last = np.zeros(len(rows), np.bool_)
    last[-1] = not rows.done[-1]
    own: Sequence[str] = OWN if rows.controls.shape[1] else OWN[1:]
    return EpisodeBuffer(
        observations=np.concatenate([rows.states, rows.next_states[-1:]]),
        actions=rows.controls if rows.controls.shape[1] else rows.actions.astype(np.int64),
        rewards=rows.rewards,
        terminations=rows.done,
        truncations=last,
        infos={name: np.concatenate([getattr(rows, name)[:1], getattr(rows, name)]) for name in own},
    )
