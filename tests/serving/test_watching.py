"""A version that goes live is watched: what players report decides whether it stays."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from supervisor.contract import Interface
from supervisor.registry import server_rollbacks
from supervisor.registry.server_rollbacks import Cause, RollbackFile, ServerRollback
from supervisor.serving.options import ServerOptions, WatchOptions
from tests.support import onnx_models as models
from tests.support.players import OUTCOME, STATE, answering, listed, monitoring, play, report
from tests.support.processes import wait_for
from tests.support.served_folder import TARGET, ServedFolder
from tests.support.server_process import ServerProcess

RELOAD = f"/reload/{TARGET}"
OIP = "aggressive.combat_dqn"
OLD, NEW = "v000001", "v000002"
KEYS = [f"player-{number}" for number in range(400)]


@pytest.fixture
def folder(tmp_path: Path) -> ServedFolder:
    folder = ServedFolder(tmp_path / "run")
    folder.promote(models.mlp(1))
    return folder


@pytest.fixture
def server(folder: ServedFolder) -> Iterator[ServerProcess]:
    """The second version has just gone live."""
    with ServerProcess(folder.path) as server:
        swap(server, folder)
        yield server


def swap(server: ServerProcess, folder: ServedFolder, model: bytes | None = None) -> str:
    version = folder.promote(model or models.mlp(folder.iteration + 1))
    assert server.post(RELOAD).status == 200
    return version.name


def pairs_in(path: Path) -> int:
    """How many are written down."""
    lines = path.read_text().splitlines() if path.exists() else []
    return sum(len(json.loads(line).get("pairs", [])) for line in lines)


def causes(folder: ServedFolder) -> list[tuple[str, Cause]]:
    return [(entry.version, entry.cause) for entry in server_rollbacks.read(folder.path).entries]


def test_a_tenth_of_the_players_stay_on_the_version_before_always_the_same(server: ServerProcess) -> None:
    first = {key: answering(server, key) for key in KEYS}
    assert 20 <= list(first.values()).count(OLD) <= 65  # of 400; 40 are expected
    assert {key: answering(server, key) for key in KEYS[:50]} == {key: first[key] for key in KEYS[:50]}
    assert answering(server) == NEW
    assert listed(server)["version"] == NEW


def test_another_version_keeps_other_players_back(server: ServerProcess, folder: ServedFolder) -> None:
    held = {key for key in KEYS if answering(server, key) == OLD}
    third = swap(server, folder)
    assert {key for key in KEYS if answering(server, key) != third} != held


def test_a_worse_version_is_taken_out_and_the_file_says_why(server: ServerProcess, folder: ServedFolder) -> None:
    play(server, (OLD, 0.8), (NEW, 0.3), pairs=100)
    server.wait_for_line(f"{TARGET}: {NEW} rolled back (degraded), serving {OLD}")
    assert causes(folder) == [(NEW, Cause.DEGRADED)]
    assert "points less a game than v000001 (95 % interval" in server_rollbacks.read(folder.path).entries[0].detail
    watched = monitoring(server)
    assert (watched["state"], watched["version"], watched["against"]) == ("degraded", NEW, OLD)
    assert watched["evidence"] >= watched["needed"]
    assert watched["loss"] > 0.02
    assert {answering(server, key) for key in KEYS[:30]} == {OLD}
    assert server.post(RELOAD, {"version": NEW}).code == "rolled_back"


def test_an_equal_version_is_found_stable_and_becomes_the_baseline(server: ServerProcess) -> None:
    play(server, (OLD, 1.0), (NEW, 1.0), pairs=1500)
    server.wait_for_line(f"{TARGET}: {NEW} is stable")
    watched = monitoring(server)
    assert watched["state"] == "stable"
    assert watched["baseline"]["version"] == NEW
    assert watched["baseline"]["mean_score"] == 1.0
    assert {answering(server, key) for key in KEYS[:50]} == {NEW}


def test_where_nobody_reports_it_says_so_and_the_time_ends_it(folder: ServedFolder) -> None:
    with ServerProcess(folder.path, watched=WatchOptions(window_s=0.5)) as server:
        assert monitoring(server)["state"] == "off"
        swap(server, folder)
        assert "only hard faults" in monitoring(server)["note"]
        wait_for("that", lambda: monitoring(server)["state"] == "undecided")
        assert monitoring(server)["baseline"] is None
        assert {answering(server, key) for key in KEYS[:50]} == {NEW}


def test_killed_in_the_middle_it_goes_on_with_all_that_was_reported(
    server: ServerProcess, folder: ServedFolder
) -> None:
    play(server, (OLD, 0.6), (NEW, 0.5), pairs=50)
    held = {key for key in KEYS if answering(server, key) == OLD}
    before = monitoring(server)
    path = folder.path / "serving" / "windows" / "aggressive.combat_dqn.jsonl"
    wait_for("that", lambda: pairs_in(path) == 50)
    server.process.kill()
    with ServerProcess(folder.path) as again:
        after = monitoring(again)
        for name in ("state", "version", "against", "since", "pairs", "loss", "evidence"):
            assert after[name] == before[name], name
        assert after["elapsed_s"] >= before["elapsed_s"] - 1
        assert {key for key in KEYS if answering(again, key) == OLD} == held
        play(again, (OLD, 0.9), (NEW, 0.1), pairs=50)
        again.wait_for_line("rolled back (degraded)")


def test_asked_to_stop_it_writes_everything_before_it_leaves(server: ServerProcess, folder: ServedFolder) -> None:
    play(server, (OLD, 0.5), (NEW, 0.5), pairs=50)
    before = monitoring(server)
    server.process.send_signal(signal.SIGTERM)
    server.wait_for_line("server stopped")
    with ServerProcess(folder.path) as again:
        assert monitoring(again)["evidence"] == before["evidence"]


def test_a_watch_that_is_over_stays_over_after_a_restart(server: ServerProcess, folder: ServedFolder) -> None:
    play(server, (OLD, 1.0), (NEW, 1.0), pairs=1500)
    server.wait_for_line(f"{NEW} is stable")
    server.process.send_signal(signal.SIGTERM)
    server.wait_for_line("server stopped")
    with ServerProcess(folder.path) as again:
        watched = monitoring(again)
        assert (watched["state"], watched["baseline"]["version"]) == ("off", NEW)
        assert {answering(again, key) for key in KEYS[:50]} == {NEW}


@pytest.mark.parametrize("damage", ["garbage", "torn", "another schema"])
def test_a_damaged_file_costs_the_watch_and_nothing_else(
    server: ServerProcess, folder: ServedFolder, damage: str
) -> None:
    path = folder.path / "serving" / "windows" / "aggressive.combat_dqn.jsonl"
    wait_for("its file", path.exists)
    server.process.kill()
    server.process.wait()
    text = path.read_bytes()
    path.write_bytes(
        {"garbage": b"\xff{\n", "torn": text[: len(text) // 2], "another schema": b'{"schema":99}\n'}[damage]
    )
    with ServerProcess(folder.path) as again:
        assert monitoring(again)["state"] == "off"
        assert answering(again) == NEW
        third = swap(again, folder)
        assert (monitoring(again)["state"], monitoring(again)["version"]) == ("watching", third)


def test_as_a_canary_a_tenth_gets_it_first_and_everybody_once_it_is_stable(folder: ServedFolder) -> None:
    with ServerProcess(folder.path, watched=WatchOptions(canary=0.1)) as server:
        swap(server, folder)
        assert monitoring(server)["mode"] == "canary"
        given = [answering(server, key) for key in KEYS]
        assert 20 <= given.count(NEW) <= 65
        assert answering(server) == OLD
        third = swap(server, folder)  # what most are served is what it is compared with
        assert monitoring(server)["against"] == OLD
        assert {answering(server, key) for key in KEYS[:100]} == {OLD, third}
        play(server, (OLD, 1.0), (third, 1.0), pairs=1500)
        server.wait_for_line(f"{third} is stable")
        assert {answering(server, key) for key in [None, *KEYS[:50]]} == {third}


def test_a_bad_canary_never_reaches_the_others(folder: ServedFolder) -> None:
    with ServerProcess(folder.path, watched=WatchOptions(canary=0.1)) as server:
        swap(server, folder)
        play(server, (OLD, 0.9), (NEW, 0.2), pairs=100)
        server.wait_for_line(f"{NEW} rolled back (degraded), serving {OLD}")
        assert {answering(server, key) for key in [None, *KEYS[:50]]} == {OLD}
    assert causes(folder) == [(NEW, Cause.DEGRADED)]


def test_told_not_to_it_says_what_it_found_and_rolls_nothing_back(folder: ServedFolder) -> None:
    with ServerProcess(folder.path, watched=WatchOptions(rollback_on_degradation=False)) as server:
        swap(server, folder)
        play(server, (OLD, 0.9), (NEW, 0.2), pairs=100)
        server.wait_for_line(f"{TARGET}: {NEW} is degraded")
        assert monitoring(server)["state"] == "degraded"
        assert answering(server) == NEW
    assert causes(folder) == []


def test_switched_off_nobody_is_held_back(folder: ServedFolder) -> None:
    with ServerProcess(folder.path, watched=WatchOptions(enabled=False)) as server:
        swap(server, folder)
        assert {answering(server, key) for key in KEYS[:100]} == {NEW}
        assert monitoring(server)["state"] == "off"
        assert report(server, (NEW, 1.0)).body == {"accepted": 1, "tested": 0, "ignored": []}


def test_what_cannot_be_written_down_is_tried_again_until_it_can(server: ServerProcess, folder: ServedFolder) -> None:
    path = folder.path / "serving" / "windows" / "aggressive.combat_dqn.jsonl"
    wait_for("its file", path.exists)
    aside = folder.path / "aside"
    (folder.path / "serving").rename(aside)
    (folder.path / "serving").write_text("a file where the folder should be")
    play(server, (OLD, 0.9), (NEW, 0.1), pairs=100)
    server.wait_for_line("is to be rolled back", "could not be written down")
    assert answering(server) == NEW
    (folder.path / "serving").unlink()
    aside.rename(folder.path / "serving")
    server.wait_for_line(f"{NEW} rolled back (degraded)")
    assert causes(folder) == [(NEW, Cause.DEGRADED)]
    wait_for("that", lambda: pairs_in(path) >= monitoring(server)["pairs"] > 0)


def test_rolled_back_by_hand_the_watch_is_over(server: ServerProcess) -> None:
    assert server.post(f"/rollback/{TARGET}").status == 200
    assert monitoring(server)["state"] == "rolled_back"
    assert {answering(server, key) for key in KEYS[:50]} == {OLD}


def test_an_older_version_put_in_by_hand_is_watched_as_any_other(server: ServerProcess, folder: ServedFolder) -> None:
    assert server.post(RELOAD, {"version": OLD}).body["version"] == OLD
    assert (monitoring(server)["state"], monitoring(server)["against"]) == ("watching", NEW)
    play(server, (OLD, 0.1), (NEW, 0.9), pairs=100)
    server.wait_for_line(f"{OLD} rolled back (degraded)")
    assert causes(folder) == [(OLD, Cause.DEGRADED)]
    assert {answering(server, key) for key in KEYS[:50]} == {NEW}


def test_taken_back_by_hand_a_canary_reaches_nobody_any_more(folder: ServedFolder) -> None:
    with ServerProcess(folder.path, watched=WatchOptions(canary=0.1)) as server:
        swap(server, folder)
        assert server.post(RELOAD, {"version": OLD}).body["version"] == OLD
        assert {answering(server, key) for key in [None, *KEYS[:50]]} == {OLD}
        assert monitoring(server)["state"] == "superseded"
        swap(server, folder)
        assert monitoring(server)["against"] == OLD


def rolled_back_by_the_supervisor(folder: ServedFolder) -> None:
    gone = folder.active[TARGET]
    assert gone.name == NEW
    RollbackFile(folder.path).append(
        ServerRollback("x", TARGET, gone.name, gone.model_sha256, OLD, Cause.MANUAL, "", "now")
    )


def test_the_way_back_from_what_was_rolled_back_is_not_watched(server: ServerProcess, folder: ServedFolder) -> None:
    rolled_back_by_the_supervisor(folder)
    assert server.post(RELOAD).body["version"] == OLD
    assert monitoring(server)["state"] == "superseded"
    assert {answering(server, key) for key in KEYS[:50]} == {OLD}


def test_nor_is_it_where_that_happened_while_the_server_was_down(folder: ServedFolder) -> None:
    with ServerProcess(folder.path) as server:
        swap(server, folder)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_line("server stopped")
    rolled_back_by_the_supervisor(folder)
    with ServerProcess(folder.path) as again:
        assert {answering(again, key) for key in KEYS[:50]} == {OLD}
        assert monitoring(again)["state"] != "watching"
        assert not [line for line in again.lines if "is not watched" in line]


def test_beyond_loopback_an_outcome_needs_the_token(folder: ServedFolder) -> None:
    with ServerProcess(folder.path, ServerOptions(host="0.0.0.0", port=0, token="s3cret")) as server:
        told = {"version": OLD, "score": 1}
        assert server.post(OUTCOME, told).status == 401
        assert server.post(OUTCOME, told, Authorization="Bearer s3cret").status == 200
        assert server.post(f"/infer/{TARGET}", STATE).status == 200


def test_unloaded_and_loaded_again_a_canary_is_still_one(folder: ServedFolder) -> None:
    with ServerProcess(folder.path, watched=WatchOptions(canary=0.1)) as server:
        swap(server, folder)
        for order in ("unload", "load"):
            with urlopen(Request(f"http://127.0.0.1:{server.port}/v2/repository/models/{OIP}/{order}", b"")) as reply:
                assert reply.status == 200
        assert answering(server) == OLD
        assert (monitoring(server)["state"], monitoring(server)["against"]) == ("watching", OLD)


@pytest.mark.parametrize("canary", [None, 0.1])
def test_a_version_promoted_while_the_server_was_down_is_watched(folder: ServedFolder, canary: float | None) -> None:
    options = WatchOptions(canary=canary)
    with ServerProcess(folder.path, watched=options) as server:
        swap(server, folder)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_line("server stopped")
    third = folder.promote(models.mlp(3))
    with ServerProcess(folder.path, watched=options) as again:
        at_large = OLD if canary else NEW
        assert (monitoring(again)["version"], monitoring(again)["against"]) == (third.name, at_large)
        assert {answering(again, key) for key in KEYS[:100]} == {third.name, at_large}
        assert answering(again) == (OLD if canary else third.name)


def test_versions_of_other_inputs_are_not_compared_and_nobody_is_held_back(
    server: ServerProcess, folder: ServedFolder
) -> None:
    other = Interface(inputs={"state": (0, 72)}, outputs={"q_values": (0, 10)})
    third = folder.promote(models.wide(states=72), interface=other)
    server.post(RELOAD)
    assert "other inputs" in monitoring(server)["note"]
    said = [server.post(f"/infer/{TARGET}", {"state": [0.5] * 72}, **{"X-Client-Key": key}) for key in KEYS[:50]]
    assert {(reply.status, reply.body["version"]) for reply in said} == {(200, third.name)}
