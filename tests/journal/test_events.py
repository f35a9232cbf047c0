"""Events: a line each, whatever became of the one before."""

import json

import pytest

from supervisor.journal.events import EVENTS_NAME, Events


@pytest.mark.parametrize("rest", [b'{"event":"star', b"\0" * 5000, b'\0\0\0"}\n'])
def test_behind_a_line_that_a_crash_left_unfinished_the_next_event_is_a_line_of_its_own(tmp_path, rest):
    path = tmp_path / EVENTS_NAME
    Events(tmp_path, lambda: "then", lambda text: None).write("start", "first")
    path.write_bytes(path.read_bytes() + rest)
    Events(tmp_path, lambda: "now", lambda text: None).write("start", "second")
    assert [json.loads(line)["reason"] for line in path.read_bytes().splitlines()] == ["first", "second"]
