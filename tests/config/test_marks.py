"""YAML with places, and its traps closed."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.config import marks
from supervisor.config.marks import Document, Mark


def parsed(text: str) -> Document:
    document = Document(Path("f.yaml"))
    marks.parse(text, document)
    return document


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("-1.5E+3", -1500.0),
        (".5", 0.5),
        ("12", 12),
        ("-0", 0),
        ("0x1F", 31),
        ("0o17", 15),
        ("010", 10),
        ("true", True),
        ("null", None),
        ("~", None),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("=", "="),
        ("e5", "e5"),
    ],
)
def test_a_plain_scalar_means_what_it_looks_like(text: str, value: object) -> None:
    assert marks.scalar(text) == value
    assert type(marks.scalar(text)) is type(value)
    assert parsed(f"key: {text}").data == {"key": value}


def test_quoted_numbers_are_text() -> None:
    assert parsed("a: '1'\nb: \"true\"\nc: |\n  3\n").data == {"a": "1", "b": "true", "c": "3\n"}


def test_every_key_and_value_has_its_line_and_column() -> None:
    document = parsed("run:\n  seed: 3\n  targets: [a,\n    b]\n")
    assert document.keys["run", "seed"] == Mark(2, 3)
    assert document.values["run", "seed"] == Mark(2, 9)
    assert document.values["run", "targets", 1] == Mark(4, 5)


def test_a_part_that_is_not_in_the_file_is_placed_at_what_is_around_it() -> None:
    document = parsed("x: 1\nrun:\n  seed: 3\n")
    assert document.at(("run", "games")) == "f.yaml:2:1"
    assert document.at(("elsewhere",)) == "f.yaml:1:1"


def test_a_duplicate_key_is_a_mistake_and_the_first_counts() -> None:
    document = parsed("run:\n  seed: 1\n  seed: 2\n")
    assert document.data == {"run": {"seed": 1}}
    assert document.problems == ["f.yaml:3:3: run.seed: stands twice (first in line 2); keep one of them"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [1, 2", "f.yaml:1:9"),
        ("a: 1\n\tb: 2", "f.yaml:2:1"),
        ("a: 1\nb 2\nc: 3", "f.yaml:2:1"),
        ("- 1", "f.yaml:1:1"),
        ("just text", "f.yaml:1:1"),
        ("a: 1\n---\nb: 2", "f.yaml:2:1"),
        ("a: *nowhere", "f.yaml:1:4"),
        ("a: !!python/object/apply:os.system ['true']", "f.yaml:1:4"),
        ("? [a]\n: 1", "f.yaml:1:3"),
        ("a: \x07", "f.yaml:1:4"),
        ("ok: 1\na: &x [*x]", "f.yaml:2:4"),
    ],
)
def test_what_is_no_plain_mapping_is_refused_with_its_place(text: str, place: str) -> None:
    [problem] = parsed(text).problems
    assert problem.startswith(f"{place}: ")
    assert ";" in problem


def test_aliases_stand_for_what_they_name() -> None:
    assert parsed("a: &x [1, 2]\nb: *x").data == {"a": [1, 2], "b": [1, 2]}


def test_aliases_that_unfold_to_billions_are_refused_soon() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "unfolds without end" in parsed("\n".join(lines)).problems[0]


def test_very_deep_nesting_is_refused_and_not_a_crash() -> None:
    assert "nested too deeply" in parsed("a: " + "[" * 20000 + "]" * 20000).problems[0]


def test_an_empty_file_and_one_of_comments_are_empty_settings(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    for text in ("", "# nothing yet\n", "---\n"):
        path.write_text(text)
        document = marks.read(path)
        assert (document.data, document.problems) == ({}, [])


def test_a_missing_file_a_folder_and_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    assert "no such file" in marks.read(tmp_path / "gone.yaml").problems[0]
    assert "cannot be read" in marks.read(tmp_path).problems[0]
    binary = tmp_path / "latin.yaml"
    binary.write_bytes(b"a: 1\nname: caf\xe9\n")
    assert marks.read(binary).problems == [f"{binary}:2:10: not UTF-8 text; save the file as UTF-8"]
    huge = tmp_path / "huge.yaml"
    huge.write_bytes(b"#" * (marks.LARGEST_FILE_BYTES + 1))
    assert "larger than" in marks.read(huge).problems[0]


def test_problems_come_in_order_of_file_line_and_column() -> None:
    given = ["b.yaml:10:1: x", "a.yaml:2:1: x", "b.yaml:9:20: x", "b.yaml:9:3: x", "flag --games: x"]
    assert marks.in_order(given) == [given[3], given[2], given[0], given[1], given[4]]
