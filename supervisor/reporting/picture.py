"""A course as a picture: SVG that needs nothing else, in a page or as a file of its own. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from supervisor.console import percent
from supervisor.reporting import frame as place
from supervisor.reporting.axes import Span, time_marks
from supervisor.reporting.course import COLUMNS, Change, Course, Kind
from supervisor.reporting.curve import band_path, line_path, runs
from supervisor.reporting.frame import Frame, Label, number, placed
from supervisor.reporting.markup import element, escaped
from supervisor.reporting.thinning import Point

BOTTOM_Y = place.TOP + place.HEIGHT
MOST_TIMES = 9  # marks of the axis of time
SHAPES = {  # each kind is told by its shape; colour comes on top
    Kind.FIRST: ("first", "M-4,0A4,4 0 1 1 4,0A4,4 0 1 1 -4,0Z"),
    Kind.SEARCH: ("search", "M0,-6.5L6.5,0L0,6.5L-6.5,0Z"),
    Kind.LESSON: ("lesson", "M-5,0A5,5 0 1 1 5,0A5,5 0 1 1 -5,0Z"),
    Kind.HAND: ("hand", "M-4.5,-4.5H4.5V4.5H-4.5Z"),
    Kind.ROLLBACK: ("rollback", "M-6,-4.5H6L0,6Z"),
}
LIGHT = (
    "--paper:#fff;--ink:#1b1f24;--quiet:#59636e;--grid:#e3e6ea;"
    "--curve:#0067a6;--search:#8a3f8f;--lesson:#00734f;--rollback:#b84500"
)
DARK = (
    "--paper:#14171b;--ink:#e8eaed;--quiet:#a0a8b1;--grid:#2c3238;"
    "--curve:#5cb8f0;--search:#dd9be0;--lesson:#3fcf9b;--rollback:#ff9351"
)
STYLE = (
    f".course{{{LIGHT};font:12px system-ui,sans-serif;font-variant-numeric:tabular-nums}}"
    f"@media (prefers-color-scheme:dark){{.course{{{DARK}}}}}@media print{{.course{{{LIGHT}}}}}"
    ".course text{fill:var(--quiet)}.course .now{fill:var(--curve);font-weight:700;font-size:17px}"
    ".paper{fill:var(--paper)}.grid{stroke:var(--grid)}.band{fill:var(--curve);opacity:.18}"
    ".line{fill:none;stroke:var(--curve);stroke-width:2;stroke-linejoin:round}"
    ".course .name{paint-order:stroke;stroke:var(--paper);stroke-width:4px}"
    ".lead{stroke:var(--quiet);stroke-width:.8;opacity:.55}.level{stroke:var(--quiet);stroke-dasharray:4 3}"
    ".mark{stroke:var(--paper);stroke-width:1.2}.first,.hand{fill:var(--ink)}"
    ".search{fill:var(--search)}.lesson{fill:var(--lesson)}.rollback{fill:var(--rollback)}"
    ".first{fill:var(--paper);stroke:var(--ink);stroke-width:2}"
)


def picture(course: Course, span: Span) -> str:
    """The whole of it, labelled for who cannot see it."""
    frame = Frame(span)
    labels = list(placed((frame.x(change.after.at_s), change.after.version or "none") for change in course.changes))
    top = place.LABEL_HEIGHT * (place.LABEL_ROWS - 1 - max((label.row for label in labels), default=0))
    parts = [
        element("style", STYLE),
        f'<rect class="paper" y="{top}" width="100%" height="100%"/>',
        *_grid(frame),
        *_levels(course, frame),
        *_names(labels, course, frame),
        *_curves(course, frame),
        *(_marker(change, frame) for change in course.changes),
        *_now(course),
        *_key(course),
    ]
    return element(
        "svg",
        "".join(parts),
        xmlns="http://www.w3.org/2000/svg",
        class_="course",
        viewBox=f"0 {top} {place.TOTAL_WIDTH} {place.TOTAL_HEIGHT - top}",
        role="img",
        aria_label=summary(course),
    )


def summary(course: Course) -> str:
    """The picture in a sentence."""
    first, present = course.first, course.present
    if first is None or present is None:
        return f"{course.target}: nothing was measured yet"
    first_level, level = course.levels
    at = ("", "") if first_level == level else (f" at level {first.level}", f" at level {level}")
    promotions, rollbacks = len(course.promotions), len(course.of_kind(Kind.ROLLBACK))
    return (
        f"{course.target}: the measured win rate of what is in production went from {percent(first.rate)}{at[0]} to"
        f" {percent(present.rate)}{at[1]} over {course.iterations} iterations, with {promotions} promotions and"
        f" {rollbacks} rollbacks"
    )


def _grid(frame: Frame) -> Iterator[str]:
    right = place.LEFT + COLUMNS
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = number(frame.y(share))
        yield f'<path class="grid" d="M{place.LEFT},{y}H{right}"/>'
        yield _text(place.LEFT - 8, frame.y(share) + 4, f"{100 * share:.0f} %", "end")
    for mark in time_marks(frame.span, MOST_TIMES):
        x = frame.x(mark.at_s)
        yield f'<path class="grid" d="M{number(x)},{place.TOP}V{BOTTOM_Y + 5}"/>'
        yield _text(x, BOTTOM_Y + 18, mark.text, "middle")
    yield _text(right + 14, BOTTOM_Y + 18, "UTC")


def _levels(course: Course, frame: Frame) -> Iterator[str]:
    """Where the opponent became another one: rates on either side are not to be compared."""
    level = course.levels[0]
    for point in course.points:
        if point.level != level:
            level = point.level
            x = frame.x(point.at_s)
            yield f'<path class="level" d="M{number(x)},{place.TOP}V{BOTTOM_Y}"/>'
            yield _text(x + 5, BOTTOM_Y - 6, f"level {level}")


def _names(labels: Sequence[Label], course: Course, frame: Frame) -> Iterator[str]:
    """The versions above the curve, each with a line down to where it begins; those without room are in the table."""
    heights = {frame.x(change.after.at_s): _height(change, frame) for change in course.changes}
    placed_at = [(label, place.TOP - 10 - label.row * place.LABEL_HEIGHT) for label in labels]
    for label, y in placed_at:
        yield f'<path class="lead" d="M{number(label.x)},{y + 3}V{number(heights[label.x])}"/>'
    for label, y in placed_at:
        yield _text(label.left, y, label.text, class_="name")


def _height(change: Change, frame: Frame) -> float:
    """Of a version that was not measured, the axis."""
    return frame.y(change.after.rate or 0.0)


def _curves(course: Course, frame: Frame) -> Iterator[str]:
    found = list(runs(course.points, frame))
    yield "".join(f'<path class="band" d="{band_path(run)}"/>' for run in found)
    yield "".join(f'<path class="line" d="{line_path(run)}"/>' for run in found)


def _marker(change: Change, frame: Frame) -> str:
    name, shape = SHAPES[change.kind]
    where = f"translate({number(frame.x(change.after.at_s))},{number(_height(change, frame))})"
    version, rate = change.after.version or "nothing", percent(change.after.rate)
    told = f"{version}: {change.kind}, {rate}, iteration {change.iteration}"
    return element("path", element("title", escaped(told)), class_=f"mark {name}", d=shape, transform=where)


def _now(course: Course) -> Iterator[str]:
    """To the right of the curve: what is in production and how good it is."""
    point = course.present
    if point is None or point.rate is None:
        return
    x = place.LEFT + COLUMNS + 14
    y = min(max(Frame.y(point.rate), place.TOP + 12), BOTTOM_Y - 26)
    yield _text(x, y - 12, point.version or "")
    yield _text(x, y + 6, percent(point.rate), class_="now")
    yield _text(x, y + 22, interval_text(point))


def interval_text(point: Point) -> str:
    """`70.0 to 73.9 %`."""
    return f"{100 * point.low:.1f} to {100 * point.high:.1f} %"


def _key(course: Course) -> Iterator[str]:
    """The kinds of changes that the picture has, below the axis."""
    x, y = float(place.LEFT + 6), BOTTOM_Y + 44
    for kind, (name, shape) in SHAPES.items():
        if course.of_kind(kind):
            yield f'<path class="mark {name}" d="{shape}" transform="translate({number(x)},{y - 4})"/>'
            yield _text(x + 11, y, kind)
            x += 30 + place.CHARACTER_WIDTH * len(kind)


def _text(x: float, y: float, text: str, anchor: str = "start", **attributes: object) -> str:
    given = {"text_anchor": anchor, **attributes} if anchor != "start" else attributes
    return element("text", escaped(text), x=number(x), y=number(y), **given)
