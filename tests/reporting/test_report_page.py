"""The page: HTML that parses, that needs nothing from anywhere, and says in tables what its pictures show."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from supervisor.contract import Tally
from supervisor.reporting.course import Kind, courses
from supervisor.reporting.frame import LABEL_ROWS, Frame, placed
from supervisor.reporting.markup import escaped
from supervisor.reporting.page import Heading, page, span_of
from supervisor.reporting.picture import picture
from tests.support.production_lines import START_S, by_hand, first, gone_back, lesson, promoted, tried

VOID = {"meta", "br", "hr", "img", "link"}
HEADING = Heading("d5f06472d6ab", 7)
HOSTILE = "\"'><script src=//evil.example/x.js></script><img src=x onerror=alert(1)>&\x00\x1b[31m\ud800"


class Page(HTMLParser):
    """Every element with its attributes, and the text; raises where an element is not closed as it was opened."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def of_class(self, name: str) -> list[dict[str, str | None]]:
        return [given for _, given in self.elements if name in (given.get("class") or "").split()]

    @property
    def text(self) -> str:
        return " ".join(self.texts)


def a_run():
    return courses(
        [
            first(1),
            first(2, target="mage/combat_dqn"),
            promoted(3, lesson=lesson("0:0", "0:4000", 4000), pool=Tally(100, 0, 100), best_win_rate=0.5),
            promoted(4),
            by_hand(5, "v000001"),
            gone_back(6, "v000004", "v000001"),
            tried(7, target="mage/combat_dqn", level=2, pool=Tally(3, 0, 17), best_win_rate=0.15),
        ]
    )


@pytest.fixture
def shown() -> Page:
    return Page(page(HEADING, a_run()))


def test_there_is_one_picture_with_a_curve_for_each_target(shown):
    labels = [svg["aria-label"] for svg in shown.of("svg")]
    assert [label.split(":")[0] for label in labels] == ["aggressive/combat_dqn", "mage/combat_dqn"]
    assert len(shown.of_class("line")) == 3  # mage's is broken where the opponent became another one
    assert len(shown.of_class("band")) == 3


def test_every_change_has_its_marker_in_a_shape_of_its_own_and_its_line_in_the_table(shown):
    shapes = {tuple(sorted(mark["class"].split())): mark["d"] for mark in shown.of_class("mark")}
    assert len(shapes) == len(set(shapes.values())) == len(Kind)
    for change in a_run()[0].changes:
        assert str(change.kind) in shown.texts
        assert f"{change.after.version}: {change.kind}, " in shown.text
    assert "4,000" in shown.texts


def test_the_versions_are_named_in_the_picture(shown):
    for name in ("v000001", "v000003", "v000004"):
        assert name in shown.texts


def test_another_level_of_the_opponent_is_said_and_breaks_the_curve(shown):
    assert "level 2" in shown.texts
    assert "1 to 2" in shown.texts
    assert "at level 1 to 15.0 % at level 2" in shown.of("svg")[1]["aria-label"]


def test_a_page_refers_to_nothing_outside_itself_and_forbids_scripts():
    text = page(HEADING, a_run())
    shown = Page(text)
    for _, attributes in shown.elements:
        for name, value in attributes.items():
            if name in ("src", "href", "action", "data", "poster", "srcset", "xlink:href"):
                assert value.startswith("#"), value
    assert re.findall(r"(?:https?:)?//[\w.]+[^\"']*", text.replace("http://www.w3.org/2000/svg", "")) == []
    assert not re.search(r"@import|url\(|@font-face", text)
    assert not shown.of("script")
    assert "default-src 'none'" in next(one["content"] for one in shown.of("meta") if "http-equiv" in one)


def test_links_lead_to_places_that_are_there(shown):
    places = {attributes.get("id") for _, attributes in shown.elements}
    links = [link["href"].removeprefix("#") for link in shown.of("a")]
    assert len(links) == 2
    assert set(links) <= places


def test_whatever_the_log_says_stays_text():
    target, version = f"mage/{HOSTILE.replace('/', '')}", f"v{HOSTILE}"
    hostile = [
        first(1, target=target, version=version),
        gone_back(2, version, HOSTILE, target=target, time={**tried(2).time, "detail": HOSTILE}),
    ]
    text = page(Heading(HOSTILE, 0), courses(hostile))
    shown = Page(text)
    assert not shown.of("script")
    assert not shown.of("img")
    assert all(not name.startswith("on") for _, given in shown.elements for name in given)
    assert "<script src=//evil.example/x.js></script>" in shown.text
    assert text.encode().decode() == text
    assert "\x00" not in text
    assert "\x1b" not in text


def test_the_same_lines_make_the_same_page():
    assert page(HEADING, a_run()) == page(HEADING, a_run())


def test_a_run_without_a_line_has_a_page_that_says_so():
    assert "No iteration." in Page(page(HEADING, ())).text
    since = Page(page(Heading("r", 0, START_S), ()))
    assert "No iteration since 2027-01-15 08:00:00 UTC." in since.text


def test_nothing_measured_is_no_curve_and_nothing_in_production_is_said():
    found = courses([first(1, pool=Tally(), best_win_rate=None), gone_back(2, None, "v000001", pool=Tally())])
    shown = Page(page(HEADING, found))
    assert shown.of_class("line") == []
    assert "nothing was measured yet" in shown.of("svg")[0]["aria-label"]
    assert "nothing" in shown.texts


def test_a_run_of_a_single_line_has_a_picture():
    [course] = courses([first(1)])
    assert 'class="line"' in picture(course, span_of([course], None))


def test_a_picture_is_well_formed_by_itself():
    for course in a_run():
        ElementTree.fromstring(picture(course, span_of(a_run(), None)))


def test_the_curve_reaches_from_its_first_line_to_the_end_of_the_run_at_the_height_of_its_rate():
    [course] = courses([first(1, best_win_rate=0.1), promoted(5, best_win_rate=0.5), tried(9, best_win_rate=0.5)])
    frame = Frame(span_of([course], None))
    [path] = [one["d"] for one in Page(picture(course, frame.span)).of_class("line")]
    assert path == f"M52,{frame.y(0.1):g}H{frame.x(START_S + 300):g}V{frame.y(0.5):g}H{52 + 760}"
    assert frame.y(1.0) < frame.y(0.5) < frame.y(0.1) < frame.y(0.0)


def test_names_never_overlap_and_what_has_no_room_is_left_out():
    wanted = [(52 + 7.0 * number, f"v{number:06d}") for number in range(110)]
    found = list(placed(wanted))
    assert 0 < len(found) < 110
    for row in range(LABEL_ROWS):
        there = sorted((label.left, label.left + 6.6 * len(label.text)) for label in found if label.row == row)
        assert all(end < begin for (_, end), (begin, _) in pairwise(there))


def test_a_rollback_says_why():
    found = courses([first(1), gone_back(2, None, "v000001", time={**tried(2).time, "detail": "E 22 over 310 pairs"})])
    words = "rolled back by the server, it did worse in production: E 22 over 310 pairs"
    assert words in Page(page(HEADING, found)).texts


def test_what_is_no_character_is_replaced():
    assert escaped("a\x00\ud800\x85<é&") == "a���&lt;é&amp;"
