"""All courses of a run as one page of HTML that needs nothing from anywhere. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from supervisor.reporting.axes import Span, moment_text, span_over, span_text
from supervisor.reporting.course import Course
from supervisor.reporting.figures import CHANGE_TITLES, TITLES, cells, change_cells
from supervisor.reporting.markup import element, escaped
from supervisor.reporting.picture import picture

NOTHING_ELSE = "default-src 'none'; style-src 'unsafe-inline'"  # no script, no request, whatever the log's text holds
STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--quiet:#59636e;--rule:#d5d9de;--link:#0067a6}
@media (prefers-color-scheme:dark){:root{--paper:#14171b;--ink:#e8eaed;--quiet:#a0a8b1;--rule:#383f47;--link:#5cb8f0}}
body{margin:0 auto;max-width:1040px;padding:24px;background:var(--paper);color:var(--ink)}
body{font:15px/1.5 system-ui,sans-serif}
h1{font-size:24px;margin:0}h2{font-size:19px;margin:40px 0 8px;overflow-wrap:anywhere}
p{margin:4px 0 16px}a{color:var(--link)}
.quiet,summary,th{color:var(--quiet)}.wide{overflow-x:auto}summary{cursor:pointer}
.course{display:block;width:100%;height:auto}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums;width:100%}
th,td{text-align:right;padding:4px 10px 4px 0;border-bottom:1px solid var(--rule);vertical-align:top;white-space:nowrap}
th{font-weight:500;white-space:normal;vertical-align:bottom}th:first-child,td:first-child,.words{text-align:left}
td.words:last-child{white-space:normal;min-width:14em;overflow-wrap:anywhere}
h2{break-after:avoid}.course,tr{break-inside:avoid}
@media print{:root{--paper:#fff;--ink:#000;--quiet:#444;--rule:#bbb;--link:#000}
body{max-width:none;padding:0;font-size:12px}
.wide{overflow:visible}table{font-size:10px}th,td{padding-right:6px}td.words:last-child{min-width:0}}
"""
HOW_TO_READ = (
    "Each curve is the win rate of what was in production, measured on fresh games that no decision has seen; the band"
    " around it is its 95 % interval (Wilson). A version keeps its place until another one takes it. Rates at different"
    " levels of the opponent are not to be compared. “gained” is the sum of the promotions' paired gains, each"
    " over the version before it, in points; “experiences” counts each one that was learnt from once."
)
WORDS = {"at (UTC)", "what", "from", "to", "in words"}  # columns of text


@dataclass(frozen=True)
class Heading:
    """What the page is of. `since_s`: only what came after it, seconds since 1970."""

    run_id: str
    seed: int
    since_s: float | None = None


def page(heading: Heading, found: Sequence[Course]) -> str:
    """The whole document. It is a function of the log alone, so the same lines make the same bytes."""
    span = span_of(found, heading.since_s)
    title = f"incumbent report: run {heading.run_id}"
    head = [
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{NOTHING_ELSE}">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        element("title", escaped(title)),
        element("style", STYLE),
    ]
    body = [element("h1", escaped(f"Run {heading.run_id}")), *_overview(heading, found, span)]
    body += [_section(number, course, span) for number, course in enumerate(found, start=1)]
    return (
        f'<!doctype html>\n<html lang="en">\n{element("head", "".join(head))}\n'
        f"{element('body', chr(10).join(body))}\n</html>\n"
    )


def span_of(found: Sequence[Course], since_s: float | None) -> Span:
    """Of all of them, so that one picture can be held against the other."""
    ends = [course.points[-1].at_s for course in found]
    starts = [course.points[0].at_s for course in found]
    start_s = since_s if since_s is not None else min(starts, default=0.0)
    return span_over(start_s, max(ends, default=start_s))


def _overview(heading: Heading, found: Sequence[Course], span: Span) -> Iterator[str]:
    iterations = sum(course.iterations for course in found)
    if not found:
        since = "" if heading.since_s is None else f" since {moment_text(heading.since_s)} UTC"
        yield element("p", escaped(f"Seed {heading.seed}. No iteration{since}."))
        return
    about = f"Seed {heading.seed}; {len(found)} targets, {iterations:,} iterations, {span_text(span)}"
    yield element("p", escaped(f"{about}, the last at {moment_text(span.end_s)} UTC."), class_="quiet")
    rows = []
    for number, course in enumerate(found, start=1):
        name, *others = cells(course)
        rows.append([element("a", escaped(name), href=f"#target{number}"), *map(escaped, others)])
    yield _table(TITLES, rows)
    yield element("p", HOW_TO_READ, class_="quiet")


def _section(number: int, course: Course, span: Span) -> str:
    """The picture, and the same as a table beside it."""
    changes = [[escaped(cell) for cell in change_cells(change)] for change in course.changes]
    told = f"{len(changes)} changes of what is in production, as a table"
    parts = [element("h2", escaped(course.target), id=f"target{number}"), picture(course, span)]
    if changes:
        table = _table(CHANGE_TITLES, changes)
        parts.append(element("details", element("summary", told) + table, open="open"))
    return element("section", "".join(parts))


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """`rows` are markup already."""
    kinds = [' class="words"' if title in WORDS else "" for title in titles]
    head = "".join(f'<th scope="col"{kind}>{escaped(title)}</th>' for title, kind in zip(titles, kinds, strict=True))
    lines = ["".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, kinds, strict=True)) for row in rows]
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return element("div", f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>", class_="wide")
