from __future__ import annotations

import json
import tomllib
from configparser import ConfigParser

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from supervisor.external.config_text import edit, read_values
from supervisor.external.leaf import ConfigTextError, number_text

YAML = """\
# What the bot thinks  \u2013 hand-tuned
odd key: "# no comment"
weights:   # three of them
    aggression:   0.5      # keep me
    'space': 1e-4
    food: !!float 2
nested: {a: 1, b: [0.1, 0.2], "c": 'x'}   # flow
text: |
  a: 1
  # not a comment
flag: yes
"""
JSON = """\
{
\t// how it plays
\t"weights": {"aggression" : 0.5,\t"space":1e-4}, /* inline */
\t"list": [1, {"x": true}],
\t"name": "a\\"b: 1", "empty": {}, "none": []
}
"""
TOML = """\
# head
title = "bot"   # a name

[weights]
aggression = 0.5    # keep me
space = 1e-4
[[unit]]
hp = 10
[[unit]]
hp = 20  # second
"""
INI = """\
; head
speed = 3
[weights]
aggression = 0.5   ; keep me
Space: 1e-4
name = "quoted # not a comment"
on = Yes
[other]
aggression=7
"""
EXAMPLES = {"yaml": YAML, "json": JSON, "toml": TOML, "ini": INI}
SPACE = {"yaml": "weights.space", "json": "weights.space", "toml": "weights.space", "ini": "weights.Space"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_only_the_values_characters_change(name: str) -> None:
    text = EXAMPLES[name]
    new = edit(text, name, {"weights.aggression": 0.75})
    assert new == text.replace("0.5", "0.75", 1)


@pytest.mark.parametrize("name", EXAMPLES)
def test_values_that_stand_there_already_leave_the_text_as_it_is(name: str) -> None:
    text = EXAMPLES[name]
    assert edit(text, name, {"weights.aggression": 0.5, SPACE[name]: 1e-4}) is text


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("ending", ["\r\n", "\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_endings_and_byte_order_mark_stay(name: str, ending: str, mark: str) -> None:
    text = mark + EXAMPLES[name].replace("\n", ending)
    assert edit(text, name, {"weights.aggression": 0.75}) == text.replace("0.5", "0.75", 1)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_edit_taken_back_is_the_original_byte_for_byte(name: str) -> None:
    text = EXAMPLES[name]
    there = edit(text, name, {"weights.aggression": 0.123456789})
    assert edit(there, name, {"weights.aggression": 0.5}) == text


@pytest.mark.parametrize("name", EXAMPLES)
def test_small_exponents_are_read_as_numbers(name: str) -> None:
    assert read_values(EXAMPLES[name], name, [SPACE[name]]) == {SPACE[name]: 1e-4}


def _read_by_others(name: str, text: str) -> object:
    if name == "yaml":
        return yaml.safe_load(text)["w"]["x"]
    if name == "json":
        return json.loads(text)["w"]["x"]
    if name == "toml":
        return tomllib.loads(text)["w"]["x"]
    parser = ConfigParser()
    parser.read_string(text)
    return float(parser["w"]["x"])


PLAIN = {
    "yaml": "w:\n  x: 0.5 # c\n  y: 1\n",
    "json": '{"w": {"x": 0.5, "y": 1}}',
    "toml": "[w]\nx = 0.5 # c\ny = 1\n",
    "ini": "[w]\nx = 0.5\ny = 1\n",
}


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(sorted(PLAIN)))
def test_every_finite_float_is_read_back_exactly_by_the_usual_libraries(value: float, name: str) -> None:
    new = edit(PLAIN[name], name, {"w.x": value})
    assert _read_by_others(name, new) == value
    assert read_values(new, name, ["w.x"])["w.x"] == value


@given(st.integers(-(2**53), 2**53), st.sampled_from(sorted(PLAIN)))
def test_every_integer_is_read_back_exactly(value: int, name: str) -> None:
    assert _read_by_others(name, edit(PLAIN[name], name, {"w.x": value})) == value


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\x85\ufeff")))
def test_every_line_of_text_is_read_back_exactly_from_yaml_json_and_toml(value: str) -> None:
    for name, text in (("yaml", "a: b # c\n"), ("json", '{"a": "b"}'), ("toml", 'a = "b" # c\n')):
        assert read_values(edit(text, name, {"a": value}), name, ["a"]) == {"a": value}


def test_yaml_keeps_the_quotes_it_finds() -> None:
    assert edit("a: 'x' # c\nb: x\nc: \"x\"\n", "yaml", {"a": "it's", "b": "yes", "c": "y"}) == (
        "a: 'it''s' # c\nb: \"yes\"\nc: \"y\"\n"
    )


def test_yaml_keeps_tags_and_anchors_before_the_value() -> None:
    assert edit("a: &x !!float 1 # c\nb: 2\n", "yaml", {"a": 3.5}) == "a: &x !!float 3.5 # c\nb: 2\n"


def test_a_yaml_alias_is_not_edited_behind_its_users_back() -> None:
    with pytest.raises(ConfigTextError, match=r"1:7: b: shares its value with a \(an alias\)"):
        edit("a: &x 0.5\nb: *x\n", "yaml", {"b": 1.0})


def test_ini_values_in_one_section_do_not_touch_the_same_key_of_another() -> None:
    new = edit(INI, "ini", {"other.aggression": 8, "speed": 4, "weights.on": False})
    assert new == INI.replace("aggression=7", "aggression=8").replace("speed = 3", "speed = 4").replace("Yes", "No")


def test_ini_takes_text_choices_that_look_like_numbers() -> None:
    assert edit("[a]\nmode = 1\n", "ini", {"a.mode": "2"}) == "[a]\nmode = 2\n"


def test_list_elements_are_named_by_their_number() -> None:
    assert edit("b: [0.1, 0.2]\n", "yaml", {"b.1": 0.3}) == "b: [0.1, 0.3]\n"
    assert edit(TOML, "toml", {"unit.1.hp": 25}) == TOML.replace("hp = 20", "hp = 25")


def test_every_problem_is_named_at_once_with_the_nearest_name() -> None:
    with pytest.raises(ConfigTextError) as caught:
        read_values(YAML, "yaml", ["weights.agression", "weights", "text", "nothing.like.it"])
    assert caught.value.problems == (
        "weights.agression: no such value; did you mean weights.aggression?",
        "weights: is a group, not a value; name one of the values in it",
        "8:7: text: must be a number, a string or a boolean on one line",
        "nothing.like.it: no such value; add it to the file, or remove the parameter",
    )


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("yaml", "a: 1\nb: [1, 2\n", "3:1"),
        ("json", '{"a": 1,\n "b": nan}', "2:7"),
        ("json", '{"a": 1} trailing', "1:10"),
        ("toml", "a = 1\nb = = 2\n", "2:"),
        ("ini", "[a]\nx = 1\nwhat is this\n", "3:1"),
    ],
)
def test_a_syntax_error_is_told_with_its_place(name: str, text: str, place: str) -> None:
    with pytest.raises(ConfigTextError) as caught:
        read_values(text, name, ["a"])
    assert caught.value.problems[0].startswith(place)


@pytest.mark.parametrize(
    ("name", "text"), [("yaml", "a: 1\na: 2\n"), ("json", '{"a": 1, "a": 2}'), ("ini", "a = 1\na = 2\n")]
)
def test_a_key_that_stands_there_twice_is_refused(name: str, text: str) -> None:
    with pytest.raises(ConfigTextError, match="stands there 2 times"):
        edit(text, name, {"a": 3})


def test_not_a_number_elsewhere_in_the_file_is_no_obstacle() -> None:
    assert edit("a: 1\nb: .nan\n", "yaml", {"a": 2}) == "a: 2\nb: .nan\n"


@pytest.mark.parametrize(("value", "text"), [(1e-05, "1.0e-05"), (1e22, "1.0e+22"), (0.1, "0.1"), (3, "3")])
def test_numbers_are_spelt_so_that_yaml_1_1_takes_them_for_numbers(value: float, text: str) -> None:
    assert number_text(value) == text
    assert yaml.safe_load(text) == value
