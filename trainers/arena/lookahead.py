"""A teacher that looks ahead: what each choice would bring, by playing it out in copies of the fights.

For every choice a copy of each fight plays it for some ticks, then goes on as the script would; the shaped reward of
all the ticks is the choice's return. The copies meet luck of their own: a teacher that knew the dice to come would
teach what nobody can see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainers.arena.arena import Arena
from trainers.arena.rules import Floats, Ints

Fights = Mapping[str, NDArray[np.generic]]
"""The state of some fights, as `Arena.state` gives it: the fights are the last axis of every array."""

_OTHER_LUCK: Final = np.uint64(2**60)  # seeds of fights lie below


class Lookahead:
    """`open_arena` gives an arena of some rows that does not reopen them, `script` what the script does in it now."""

    def __init__(
        self, open_arena: Callable[[int], Arena], script: Callable[[Arena], Ints], choices: int, held: int, horizon: int
    ) -> None:
        """A choice is held for `held` ticks of the `horizon` that its return counts."""
        self._open_arena, self._script = open_arena, script
        self._choices, self._held, self._horizon = choices, held, horizon
        self._arena: Arena | None = None

    def returns(self, fights: Fights) -> Floats:
        """The return of every choice in every fight, (fights, choices)."""
        n = fights["tick"].shape[-1]
        arena = self._copies(n * self._choices)
        copies = {name: np.repeat(array, self._choices, axis=-1) for name, array in fights.items()}
        copies["seed"] = copies["seed"].astype(np.uint64) + _OTHER_LUCK
        arena.load_state(copies)
        choice = np.tile(np.arange(self._choices, dtype=np.int64), n)
        total = np.zeros(n * self._choices, np.float32)
        for tick in range(self._horizon):
            reward, _, _ = arena.play(choice if tick < self._held else self._script(arena))
            total += reward
        return total.reshape(n, self._choices)

    def _copies(self, rows: int) -> Arena:
        if self._arena is None or self._arena.rows != rows:
            self._arena = self._open_arena(rows)
        return self._arena


def rows_of(fights: Fights, rows: Ints) -> dict[str, NDArray[np.generic]]:
    """Some of the fights."""
    return {name: array.take(rows, axis=-1) for name, array in fights.items()}


def joined(parts: Sequence[Fights]) -> dict[str, NDArray[np.generic]]:
    """Fights of several states as one."""
    return {name: np.concatenate([part[name] for part in parts], axis=-1) for name in parts[0]}


class Course:
    """Fights to learn from, one after the other in every row, with a script to lean on and a teacher to ask."""

    def __init__(
        self,
        arena: Arena,
        teacher: Lookahead,
        script: Callable[[Arena], Ints],
        choices: int,
        see: Callable[[Arena], Floats],
    ) -> None:
        """`arena` reopens its rows; `see` is what the learner is shown, (rows, inputs)."""
        self._arena, self._teacher, self._script, self._see = arena, teacher, script, see
        self.rows, self.choices = arena.rows, choices

    @property
    def observation(self) -> Floats:
        """What the learner sees now, (rows, inputs)."""
        return self._see(self._arena)

    def script(self) -> Ints:
        """What the script would choose now, (rows,)."""
        return self._script(self._arena)

    def step(self, choices: Ints) -> tuple[NDArray[np.bool_], Floats]:
        """One tick: which fights ended, and their scores."""
        _, done, score = self._arena.play(choices)
        return done, score

    def snapshot(self, rows: Ints) -> dict[str, NDArray[np.generic]]:
        """Some rows as they stand now, to ask the teacher about later."""
        return rows_of(self.state(), rows)

    def returns(self, snapshots: Sequence[Fights]) -> Floats:
        """What the teacher finds each choice to bring, (all their rows, choices)."""
        return self._teacher.returns(joined(snapshots))

    def state(self) -> dict[str, NDArray[np.generic]]:
        return self._arena.state()

    def load_state(self, saved: Fights) -> None:
        self._arena.load_state(saved)
