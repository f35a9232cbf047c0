"""What became of each target: the log's lines, read one by one, as a curve and its changes. Pure, and bounded in memory
by what a picture can show, however long the log is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from supervisor.clock import unix_s
from supervisor.console import outcome_for_people
from supervisor.contract import Reason, Status
from supervisor.promotion.wilson import wilson_interval
from supervisor.record import Record
from supervisor.reporting.learnt import Learnt
from supervisor.reporting.thinning import Point, thinned

COLUMNS = 760  # of pixels: what the widest picture of a curve has
TEXT_CHARACTERS = 300  # of a change, at most
HELD_POINTS = 8 * COLUMNS  # of a target, before those are left out that no picture can show


class Kind(StrEnum):
    """How a version came into production, as people read it."""

    FIRST = "first version"
    SEARCH = "promoted, from the search"
    LESSON = "promoted, from play"
    HAND = "put there by hand"
    ROLLBACK = "rolled back"


@dataclass(frozen=True)
class Change:
    """One line that changed what is in production. `after` holds from then on."""

    iteration: int
    kind: Kind
    before: str | None  # version
    after: Point
    gain: float  # the paired gain over the measuring games, 0 where none were played
    experiences: int  # that it was learnt from and its predecessor had not seen
    text: str  # free text of the log: what became of the candidate, and why


@dataclass(frozen=True)
class Course:
    """A target over the lines looked at. `lessons` ran to their end, whatever came of them."""

    target: str
    iterations: int
    points: tuple[Point, ...]
    changes: tuple[Change, ...]
    first: Point | None  # the first one measured
    lessons: int
    experiences: int  # different ones

    @property
    def present(self) -> Point | None:
        """What is in production after the last line."""
        return self.points[-1] if self.points else None

    @property
    def levels(self) -> tuple[int, int]:
        """The first and the present level; curves of different ones are not comparable."""
        return (self.points[0].level, self.points[-1].level) if self.points else (0, 0)

    @property
    def promotions(self) -> list[Change]:
        """Those that a test has proven."""
        return self.of_kind(Kind.SEARCH, Kind.LESSON)

    @property
    def gained(self) -> float:
        """Sum of what the promotions gained, each over the version before it."""
        return sum(change.gain for change in self.promotions)

    def of_kind(self, *kinds: Kind) -> list[Change]:
        return [change for change in self.changes if change.kind in kinds]


def courses(
    records: Iterable[Record], wanted: Callable[[str], bool] = lambda target: True, since_s: float | None = None
) -> tuple[Course, ...]:
    """Of the wanted targets that have lines since then, in order of key. A curve begins with what was there before."""
    walked: dict[str, _Walked] = {}
    for record in records:
        if wanted(record.target):
            walked.setdefault(record.target, _Walked(record.target, since_s)).add(record)
    return tuple(one.course() for _, one in sorted(walked.items()) if one.iterations)


@dataclass
class _Walked:
    """A target after some lines."""

    target: str
    since_s: float | None
    iterations: int = 0
    points: list[Point] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    first: Point | None = None
    lessons: int = 0
    learnt: Learnt = field(default_factory=Learnt)
    limit: int = HELD_POINTS
    latest: Point | None = None

    def add(self, record: Record) -> None:
        before, point = self.latest, _point(record, self.latest)
        self.latest = point
        if self.since_s is not None and point.at_s < self.since_s:
            return
        if not self.points and before is not None and self.since_s is not None:
            self._hold(before._replace(at_s=self.since_s))
        self.iterations += 1
        self._hold(point)
        self._learn(record)
        kind = _kind(record)
        if kind is not None:
            self.changes.append(_change(record, kind, before.version if before else None, point))

    def course(self) -> Course:
        return Course(
            target=self.target,
            iterations=self.iterations,
            points=tuple(thinned(self.points, COLUMNS)),
            changes=tuple(self.changes),
            first=self.first,
            lessons=self.lessons,
            experiences=self.learnt.rows,
        )

    def _hold(self, point: Point) -> None:
        self.points.append(point)
        if self.first is None and point.rate is not None:
            self.first = point
        if len(self.points) > self.limit:
            self.points = thinned(self.points, COLUMNS)
            self.limit = max(HELD_POINTS, 2 * len(self.points))  # where nearly all are changes: not at every line

    def _learn(self, record: Record) -> None:
        if record.lesson is not None and record.status is Status.COMPLETE:
            self.lessons += 1
            self.learnt = self.learnt.with_lesson(record.lesson)


def _point(record: Record, before: Point | None) -> Point:
    """After the line. A line without a time, or of a clock that was set back, has the time of the one before it."""
    low, high = wilson_interval(record.pool.score, record.pool.games)
    at_s = unix_s(str(record.time.get("finished_at"))) or 0.0
    return Point(
        at_s=max(at_s, before.at_s) if before else at_s,
        version=_version(record, before),
        level=record.level,
        rate=record.best_win_rate if record.pool.games else None,
        low=low,
        high=high,
    )


def _version(record: Record, before: Point | None) -> str | None:
    """What is in production after the line; where the log's beginning was cut off, what its first line played."""
    if _kind(record) is not None:
        return record.version
    return before.version if before else record.against


def _kind(record: Record) -> Kind | None:
    """How the line changed what is in production, None where it did not."""
    if record.goes_back:
        return Kind.ROLLBACK
    if not record.promoted or record.version is None:
        return None
    if record.reason in (Reason.BASELINE, Reason.NO_INCUMBENT):
        return Kind.FIRST
    if record.decision.rule == "manual":
        return Kind.HAND
    return Kind.LESSON if record.lesson is not None else Kind.SEARCH


def _change(record: Record, kind: Kind, before: str | None, after: Point) -> Change:
    words, detail = outcome_for_people(record), str(record.time.get("detail") or "")
    return Change(
        iteration=record.iteration,
        kind=kind,
        before=before,
        after=after,
        gain=record.improvement,
        experiences=record.lesson.rows if record.lesson else 0,
        text=(f"{words}: {detail}" if detail else words)[:TEXT_CHARACTERS],
    )
