"""What a course comes to in figures: a line of a table, or an object of JSON. Pure."""

from __future__ import annotations

from supervisor.console import percent
from supervisor.contract import Json
from supervisor.reporting.axes import moment_text
from supervisor.reporting.course import Change, Course, Kind
from supervisor.reporting.thinning import Point

TITLES = (
    "target",
    "iterations",
    "promoted",
    "first (95 %)",
    "now (95 %)",
    "in production",
    "gained",
    "level",
    "lessons",
    "experiences",
    "rolled back",
)
CHANGE_TITLES = (
    "iteration",
    "at (UTC)",
    "what",
    "from",
    "to",
    "win rate (95 %)",
    "measured gain",
    "level",
    "experiences",
    "in words",
)


def cells(course: Course) -> tuple[str, ...]:
    """One per title. A promotion is one that a test has proven; what was gained is the sum of theirs, in points."""
    present = course.present
    first_level, level = course.levels
    return (
        course.target,
        f"{course.iterations:,}",
        str(len(course.promotions)),
        rate_text(course.first),
        rate_text(present),
        (present.version if present else None) or "-",
        points_text(course.gained),
        str(level) if first_level == level else f"{first_level} to {level}",
        str(course.lessons),
        f"{course.experiences:,}",
        str(len(course.of_kind(Kind.ROLLBACK))),
    )


def change_cells(change: Change) -> tuple[str, ...]:
    """One per title."""
    return (
        str(change.iteration),
        moment_text(change.after.at_s),
        change.kind,
        change.before or "-",
        change.after.version or "nothing",
        rate_text(change.after),
        points_text(change.gain),
        str(change.after.level),
        f"{change.experiences:,}" if change.experiences else "-",
        change.text,
    )


def rate_text(point: Point | None) -> str:
    """`72.0 % (70.0 to 73.9)`."""
    if point is None or point.rate is None:
        return "-"
    return f"{percent(point.rate)} ({100 * point.low:.1f} to {100 * point.high:.1f})"


def points_text(gain: float) -> str:
    """In points of a hundred."""
    return f"{100 * gain:+.1f}" if gain else "-"


def as_object(course: Course) -> dict[str, Json]:
    """The figures, the changes, and the curve as it is drawn."""
    return {
        "target": course.target,
        "iterations": course.iterations,
        "promotions": len(course.promotions),
        "gained": course.gained,
        "lessons": course.lessons,
        "experiences": course.experiences,
        "rollbacks": len(course.of_kind(Kind.ROLLBACK)),
        "first": _point(course.first),
        "present": _point(course.present),
        "changes": [_change(change) for change in course.changes],
        "curve": [_point(point) for point in course.points],
    }


def _change(change: Change) -> dict[str, Json]:
    return {
        "iteration": change.iteration,
        "kind": change.kind.name.lower(),
        "from": change.before,
        "gain": change.gain,
        "experiences": change.experiences,
        "text": change.text,
        "after": _point(change.after),
    }


def _point(point: Point | None) -> dict[str, Json] | None:
    if point is None:
        return None
    measured = point.rate is not None
    return {
        "at": f"{moment_text(point.at_s)}Z".replace(" ", "T"),
        "version": point.version,
        "level": point.level,
        "win_rate": point.rate,
        "ci_low": point.low if measured else None,
        "ci_high": point.high if measured else None,
    }
