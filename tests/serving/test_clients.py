"""Which of a client's games count while a new version is watched."""

from __future__ import annotations

import dataclasses
import random

import pytest

from supervisor.config.settings import Settings
from supervisor.serving import clients as module
from supervisor.serving.clients import Clients
from supervisor.serving.options import WatchOptions


def test_a_client_in_the_midst_of_a_game_owes_the_outcome_of_that() -> None:
    clients = Clients(grace_s=5.0, most_games=2)
    clients.asked(b"playing", 0.1)
    clients.asked(b"playing", 60.0)
    clients.asked(b"new", 5.0)
    assert [clients.counts(b"playing") for _ in range(4)] == [False, True, True, False]
    assert [clients.counts(b"new") for _ in range(3)] == [True, True, False]
    assert not clients.counts(b"never asked")


def test_so_many_are_remembered_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CLIENTS", 2)
    clients = Clients(0.0, 1)
    for key in (b"a", b"b", b"c"):
        clients.asked(key, 1.0)
    assert [clients.counts(key) for key in (b"a", b"b", b"c")] == [True, True, False]


def test_where_lost_games_are_short_the_first_to_end_are_not_all_that_count() -> None:
    """2,000 clients play on when the swap comes; whoever loses is done in 60 s, whoever wins in 180 s. Of the games
    that count, and end within the next ten minutes, about half are won on either side alike."""
    rng, clients = random.Random(1), Clients(grace_s=5.0, most_games=3)
    scores: dict[bool, list[float]] = {True: [], False: []}
    events = []
    for number in range(2000):
        key, is_new = str(number).encode(), number % 10 != 0
        clients.asked(key, 0.01)
        won, now_s = rng.random() < 0.5, 0.0
        left_s = (180.0 if won else 60.0) * rng.random()  # of the game that is being played
        while now_s + left_s < 600.0:
            now_s += left_s
            events.append((now_s, key, is_new, float(won)))
            won = rng.random() < 0.5
            left_s = 180.0 if won else 60.0
    for _, key, is_new, score in sorted(events):
        if clients.counts(key):
            scores[is_new].append(score)
    rates = {is_new: sum(found) / len(found) for is_new, found in scores.items()}
    assert rates[True] == pytest.approx(rates[False], abs=0.06)


def test_the_settings_say_what_the_server_does_without_them() -> None:
    assert WatchOptions(**Settings().watch.model_dump()) == WatchOptions()
    assert {field.name for field in dataclasses.fields(WatchOptions)} == set(Settings().watch.model_dump())
