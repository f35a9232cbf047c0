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
from supervisor.horizon import Horizon
from supervisor.lesson import Lesson, position_in
from supervisor.search.target import TargetDefinition
from supervisor.state import State

DAY_US = 86_400 * MICROSECONDS


@dataclass(frozen=True)
class Asking:
    """What a look wants to know of one target: `looked_upto` is how far its lessons went, `learnt_upto` how far those
    went that are in its incumbent's weights; as `Lesson.reached` says it, empty where there were none."""

    pupil: Pupil
    looked_upto: str
    learnt_upto: str
    width: int
    version: str  # the incumbent's name


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
            assert target.incumbent is not None
            learnt = target.learnt_upto.get(target.incumbent.name, "")
            pupil = Pupil(key, definition.frequency, target.cycle)
            found.append(Asking(pupil, target.looked_upto, learnt, width, target.incumbent.name))
    due = {pupil.target for pupil in in_turn([asking.pupil for asking in found], cycle)}
    return [asking for asking in found if asking.pupil.target in due]


def look(
    store: ExperienceStore,
    asked: Sequence[Asking],
    settings: ContinuousSettings,
    cycle: int,
    reader: str,
    now_us: int,
    horizon: Horizon,
) -> tuple[Lesson, ...]:
    """The cycle's lessons; none where no target has enough. What they are of stays in the store, for `reader`."""
    since_us = now_us - settings.experience_lookback_days * DAY_US
    selections = {
        asking.pupil.target: Selection(asking.pupil.target, settings.min_priority, since_us, asking.width)
        for asking in asked
    }
    ranges: dict[str, tuple[Position, Position, Position]] = {}
    pupils: list[Pupil] = []
    for asking in asked:
        key = asking.pupil.target
        end = store.newest(Selection(key)) or BEGINNING
        begin = horizon.of(store, key, end, since_us)
        selection, newest = selections[key], store.nth(selections[key], begin, end, -1)
        looked_upto, learnt_upto = _places(store.identity, asking, begin, end)
        if newest is None or newest <= looked_upto:
            continue
        if store.count(selection, looked_upto, newest, settings.min_new_experiences) < settings.min_new_experiences:
            continue
        count = store.count(selection, learnt_upto, newest, at_most=settings.max_new_experiences)
        ranges[key] = begin, learnt_upto, newest
        pupils.append(Pupil(key, asking.pupil.frequency, asking.pupil.last_cycle, count))
    chosen = shares(pupils, settings.min_new_experiences, settings.max_new_experiences, settings.archetype_balancing)
    by_target = {asking.pupil.target: asking for asking in asked}
    lessons: list[Lesson] = []
    for share in chosen:
        key, selection = share.target, selections[share.target]
        begin, learnt_upto, newest = ranges[key]
        after = max(learnt_upto, _before(store, selection, begin, newest, share.rows))
        since = _before(store, selection, begin, after, settings.memory_rows)
        store.note_reader(Reader(reader, key, since, now_us))
        rows, old_rows = store.count(selection, after, newest), store.count(selection, since, after)
        lessons.append(
            Lesson(
                target=key,
                cycle=cycle,
                since=str(since),
                after=str(after),
                upto=str(newest),
                rows=rows,
                old_rows=old_rows,
                width=by_target[key].width,
                version=by_target[key].version,
                since_us=since_us,
                min_priority=settings.min_priority,
                store=store.identity,
            )
        )
    return tuple(lessons)


def _places(store: str, asking: Asking, begin: Position, end: Position) -> tuple[Position, Position]:
    """How far lessons went in this store, and the incumbent's, between the first row that is young enough and the last
    one; before the first where they are of another store, or lie behind the last."""
    places = [_position(store, reached) for reached in (asking.looked_upto, asking.learnt_upto)]
    looked_upto, learnt_upto = (max(begin, place) if place <= end else begin for place in places)
    return looked_upto, learnt_upto


def _position(store: str, reached: str) -> Position:
    position = position_in(store, reached)
    return Position.parse(position) if position else BEGINNING


def _before(store: ExperienceStore, selection: Selection, begin: Position, upto: Position, rows: int) -> Position:
    """So that as many experiences lie after it, up to `upto`; `begin` where there are not so many."""
    found = store.nth(selection, begin, upto, -(rows + 1)) if upto > begin else None
    return found or begin
