"""Reporting how games ended: by version, by request, many at a time, and what is wrong with a report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.serving.options import WatchOptions
from tests.support import onnx_models as models
from tests.support.players import INFER, OUTCOME, STATE, listed, monitoring
from tests.support.served_folder import TARGET, ServedFolder
from tests.support.server_process import ServerProcess

OLD, NEW = "v000001", "v000002"
OIP = f"/v2/models/{TARGET.replace('/', '.')}/infer"
TENSOR = {"name": "state", "shape": [1, 64], "datatype": "FP32", "data": [0.5] * 64}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """The second version has just gone live."""
    folder = ServedFolder(tmp_path / "run")
    folder.promote(models.mlp(1))
    with ServerProcess(folder.path, watched=WatchOptions(settle_s=0.0, games_per_client=2)) as server:
        folder.promote(models.mlp(2))
        server.post(f"/reload/{TARGET}")
        yield server


def client_of(server: ServerProcess, version: str) -> str:
    """The key of a client that was given this version."""
    players = (f"player-{number}" for number in range(1000))
    return next(key for key in players if server.post(INFER, STATE, **{"X-Client-Key": key}).body["version"] == version)


def tally(server: ServerProcess, side: str) -> int:
    return int(monitoring(server)[side]["outcomes"])


def test_an_outcome_counts_for_the_version_that_played(server: ServerProcess) -> None:
    assert server.post(OUTCOME, {"version": NEW, "score": 1}).body == {"accepted": 1, "tested": 1, "ignored": []}
    server.post(OUTCOME, {"version": "1", "score": 0.5})
    watched = monitoring(server)
    assert (watched["after"], watched["before"]) == (
        {"outcomes": 1, "mean_score": 1.0},
        {"outcomes": 1, "mean_score": 0.5},
    )
    assert watched["pairs"] == 1
    assert listed(server)["monitoring"]["mean_score"] == 1.0


@pytest.mark.parametrize("form", ["own", "open"])
def test_a_request_is_remembered_by_its_id_and_good_for_one_outcome(server: ServerProcess, form: str) -> None:
    key = {"X-Client-Key": client_of(server, NEW)}
    if form == "own":
        server.post(INFER, STATE, **key, **{"X-Request-Id": "fight-7 é".encode().decode("latin-1")})
    else:
        server.post(OIP, {"id": "fight-7 é", "inputs": [TENSOR]}, **key)
    told = {"request_id": "fight-7 é", "score": 0}
    assert server.post(OUTCOME, told).body["tested"] == 1
    assert tally(server, "after") == 1
    again = server.post(OUTCOME, told)
    assert (again.status, again.code) == (404, "unknown_request")
    assert tally(server, "after") == 1


def test_by_its_request_a_held_back_players_game_counts_for_the_version_before(server: ServerProcess) -> None:
    held = client_of(server, OLD)
    server.post(INFER, STATE, **{"X-Client-Key": held, "X-Request-Id": "a"})
    assert server.post(OUTCOME, {"request_id": "a", "score": 1}).body["tested"] == 1
    assert (tally(server, "before"), tally(server, "after")) == (1, 0)


def test_a_game_that_the_players_other_version_played_is_noted_and_not_tested(server: ServerProcess) -> None:
    """It had begun before the swap: who is compared must be who was drawn."""
    held = client_of(server, OLD)
    told = {"version": NEW, "score": 0, "client_key": held}
    assert server.post(OUTCOME, told).body == {"accepted": 1, "tested": 0, "ignored": []}
    assert tally(server, "after") == 0
    assert listed(server)["monitoring"]["outcomes"] == 1


def test_a_request_without_a_key_is_noted_and_not_tested(server: ServerProcess) -> None:
    """Whoever sends none is never held back, and must not be compared with those that are."""
    server.post(INFER, STATE, **{"X-Request-Id": "a", "X-Client-Key": ""})
    assert server.post(OUTCOME, {"request_id": "a", "score": 1}).body == {"accepted": 1, "tested": 0, "ignored": []}
    assert tally(server, "after") == 0


def test_of_one_client_only_so_many_games_are_tested(server: ServerProcess) -> None:
    told = {"version": NEW, "score": 0, "client_key": client_of(server, NEW)}
    assert [server.post(OUTCOME, told).body["tested"] for _ in range(4)] == [1, 1, 0, 0]


def test_of_a_client_nothing_is_tested_that_may_have_begun_before_the_swap(tmp_path: Path) -> None:
    folder = ServedFolder(tmp_path / "run")
    folder.promote(models.mlp(1))
    with ServerProcess(folder.path) as server:
        folder.promote(models.mlp(2))
        server.post(f"/reload/{TARGET}")
        told = {"version": NEW, "score": 0, "client_key": client_of(server, NEW)}
        assert server.post(OUTCOME, told).body == {"accepted": 1, "tested": 0, "ignored": []}


def test_nobody_takes_over_anothers_request(server: ServerProcess) -> None:
    new, old = client_of(server, NEW), client_of(server, OLD)
    server.post(INFER, STATE, **{"X-Request-Id": "a", "X-Client-Key": new})
    server.post(INFER, STATE, **{"X-Request-Id": "a", "X-Client-Key": old})
    assert server.post(OUTCOME, {"request_id": "a", "score": 1}).body["tested"] == 1
    assert (tally(server, "after"), tally(server, "before")) == (1, 0)
    server.post(INFER, STATE, **{"X-Request-Id": "a", "X-Client-Key": new})
    assert server.post(OUTCOME, {"request_id": "a", "score": 1}).code == "unknown_request"


def test_of_many_those_that_are_unknown_are_named_and_the_others_count(server: ServerProcess) -> None:
    told = [{"version": NEW, "score": 1}, {"version": "v000077", "score": 1}, {"request_id": "never", "score": 1}]
    reply = server.post(OUTCOME, {"outcomes": told})
    assert (reply.status, reply.body["accepted"]) == (200, 1)
    assert [(item["index"], item["code"]) for item in reply.body["ignored"]] == [
        (1, "unknown_version"),
        (2, "unknown_request"),
    ]


def test_every_mistake_is_named_and_nothing_of_it_counts(server: ServerProcess) -> None:
    told = [
        {"version": NEW, "score": 1},
        {"version": NEW, "score": 2},
        {"score": 1},
        {"version": NEW, "request_id": "a", "score": True},
        {"version": 3, "score": 1, "colour": "red"},
        "won",
    ]
    reply = server.post(OUTCOME, {"outcomes": told})
    assert (reply.status, reply.code) == (400, "bad_outcome")
    for part in ("outcomes[1].score", "outcomes[2]: names either", "outcomes[3].score", "[4].version", "colour", "[5]"):
        assert part in reply.body["error"]["message"], part
    assert tally(server, "after") == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"outcomes":[]}',
        b'{"outcomes":[{"version":"v000002","score":1}],"score":1}',
        b'{"version":"v000002","score":NaN}',
        b'{"version":"v000002","score":-0.1}',
        b'{"version":"","score":1}',
    ],
)
def test_what_is_no_outcome_is_refused(server: ServerProcess, body: bytes) -> None:
    assert server.request("POST", OUTCOME, body).status == 400


def test_unknown_models_and_web_pages_are_refused(server: ServerProcess) -> None:
    assert server.post("/outcome/no/model", {"version": NEW, "score": 1}).status == 404
    assert server.post(OUTCOME, {"version": NEW, "score": 1}, Origin="http://example.org").status == 403
