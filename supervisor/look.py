"""One look into the experience store: which targets have a lesson now, and of which experiences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from supervisor.config.continuous import ContinuousSettings
from supervisor.contract import Version
from supervisor.cycle import Pupil, in_turn, shares
from supervisor.experience.rows import MICROSECONDS
from supervisor.experience.store import BEGINNING, ExperienceStore, Position, Reader, Selection
from supervisor.lesson import Lesson
from supervisor.search.target import TargetDefinition
from supervisor.state import State

DAY_US = 86_400 * MICROSECONDS


@dataclass(frozen=True)
class Asking:
    """What a look wants to know of one target."""

    pupil: Pupil
    after: Position
    width: int


def width_of(version: Version | None) -> int | None:
    """Numbers of a state that a model file is asked with; None where there is no model to go on from."""
    if version is None or version.interface is None or version.weights_sha256 is None:
        return None
    return sum(prod(shape[1:]) for shape in version.interface.inputs.values())


def can_learn(state: State, definitions: Mapping[str, TargetDefinition]) -> bool:
    """Whether any target has a version that could go on from what was played."""
    return any(
        definition.from_play and width_of(state.target(key).incumbent) is not None
        for key, definition in definitions.items()
    )


def askings(state: State, definitions: Mapping[str, TargetDefinition], cycle: int) -> list[Asking]:
    """The targets whose turn it may be in the cycle."""
    found: list[Asking] = []
    for key, definition in sorted(definitions.items()):
        target = state.target(key)
        width = width_of(target.incumbent)
        if definition.from_play and width is not None:
            after = Position.parse(target.learnt_upto) if target.learnt_upto else BEGINNING
            found.append(Asking(Pupil(key, definition.frequency, target.cycle), after, width))
    due = {pupil.target for pupil in in_turn([asking.pupil for asking in found], cycle)}
    return [asking for asking in found if asking.pupil.target in due]


def look(
    store: ExperienceStore,
    asked: Sequence[Asking],
    settings: ContinuousSettings,
    cycle: int,
    reader: str,
    now_us: int,
) -> tuple[Lesson, ...]:
    """The cycle's lessons; none where no target has enough. What they are of stays in the store, for `reader`."""
    since_us = now_us - settings.experience_lookback_days * DAY_US
    selections = {
        asking.pupil.target: Selection(asking.pupil.target, settings.min_priority, since_us, asking.width)
        for asking in asked
    }
    ranges: dict[str, tuple[Position, Position]] = {}
    pupils: list[Pupil] = []
    for asking in asked:
        key = asking.pupil.target
        after, newest = _learnt_upto(store, asking), store.newest(selections[key])
        if newest is None or newest <= after:
            continue
        count = store.count(selections[key], after, newest, at_most=settings.max_new_experiences)
        ranges[key] = after, newest
        pupils.append(Pupil(key, asking.pupil.frequency, asking.pupil.last_cycle, count))
    chosen = shares(pupils, settings.min_new_experiences, settings.max_new_experiences, settings.archetype_balancing)
    by_target = {asking.pupil.target: asking for asking in asked}
    lessons: list[Lesson] = []
    for share in chosen:
        asking, selection = by_target[share.target], selections[share.target]
        after, newest = ranges[share.target]
        upto = store.nth(selection, after, newest, share.rows)
        if upto is None:
            continue  # somebody removed rows meanwhile
        since = _before(store, selection, after, settings.memory_rows)
        store.note_reader(Reader(reader, share.target, since, now_us))
        lessons.append(
            Lesson(
                share.target,
                cycle,
                str(since),
                str(after),
                str(upto),
                share.rows,
                store.count(selection, since, after),
                asking.width,
                since_us,
                settings.min_priority,
            )
        )
    return tuple(lessons)


def _learnt_upto(store: ExperienceStore, asking: Asking) -> Position:
    """Where the target stands in this store; at its beginning where its place lies behind the end: another store, or
    a new file, has taken the place of the one it learnt from."""
    newest = store.newest(Selection(asking.pupil.target))
    return asking.after if newest is None or newest >= asking.after else BEGINNING


def _before(store: ExperienceStore, selection: Selection, after: Position, rows: int) -> Position:
    """So that as many old experiences lie after it as a training's memory holds."""
    found = store.nth(selection, BEGINNING, after, -(rows + 1)) if after > BEGINNING else None
    return found or BEGINNING
