"""Which of a client's games count while a new version is watched."""

from __future__ import annotations

import dataclasses
import heapq
import random

import pytest

from supervisor.config.settings import Settings
from supervisor.serving import clients as module
from supervisor.serving.clients import Clients
from supervisor.serving.options import WatchOptions


def test_what_ends_right_after_the_swap_is_not_counted_and_of_what_comes_later_so_much() -> None:
    clients = Clients(settle_s=60.0, most_games=2)
    assert [clients.counts(b"a", now_s) for now_s in (0.0, 59.9, 60.0, 61.0, 62.0)] == [False, False, True, True, False]
    assert clients.counts(b"b", 62.0)


def test_so_many_are_remembered_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CLIENTS", 2)
    clients = Clients(0.0, 1)
    assert [clients.counts(key, 1.0) for key in (b"a", b"b", b"c")] == [True, True, False]


@pytest.mark.parametrize(("settle_s", "is_fair"), [(300.0, True), (0.0, False)])
def test_where_lost_games_are_short_those_that_count_are_won_as_often_at_every_moment(
    settle_s: float, is_fair: bool
) -> None:
    """2,000 clients begin anew with the swap. Whoever loses is done in 60 s, whoever wins in 180 s: at first all that
    ends is lost."""
    rng, clients, scores = random.Random(1), Clients(settle_s, most_games=100), []
    ends: list[tuple[float, int, bool]] = []

    def begin(number: int, now_s: float) -> None:
        won = rng.random() < 0.5
        heapq.heappush(ends, (now_s + (180.0 if won else 60.0) * rng.uniform(0.5, 1.0), number, won))

    for number in range(2000):
        begin(number, 0.0)
    while len(scores) < 1000:
        now_s, number, won = heapq.heappop(ends)
        if clients.counts(str(number).encode(), now_s):
            scores.append(float(won))
        begin(number, now_s)
    assert (abs(sum(scores) / len(scores) - 0.5) < 0.06) is is_fair


def test_the_settings_say_what_the_server_does_without_them() -> None:
    assert WatchOptions(**Settings().watch.model_dump()) == WatchOptions()
    assert {field.name for field in dataclasses.fields(WatchOptions)} == set(Settings().watch.model_dump())
