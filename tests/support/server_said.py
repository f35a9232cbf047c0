"""Rollbacks as the server writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from supervisor.journal import requests
from supervisor.journal.events import EVENTS_NAME
from supervisor.journal.log import read_log
from supervisor.journal.recovery import known_targets
from supervisor.journal.requests import Action, Request
from supervisor.record import Record
from supervisor.registry.active import ActiveFile
from supervisor.registry.server_rollbacks import Cause, RollbackFile, ServerRollback
from tests.support.small_run import SmallRun
from trainers import worker

TARGET = "mage/noop"


def lines(run: SmallRun) -> tuple[Record, ...]:
    return read_log(run.run_dir).records


def told(run: SmallRun, event: str = "rollback") -> list[str]:
    written = [json.loads(line) for line in (run.run_dir / EVENTS_NAME).read_text().splitlines()]
    return [line["reason"] for line in written if line["event"] == event]


def production(run: SmallRun) -> str | None:
    active = ActiveFile.read(run.run_dir)
    assert active is not None
    return active.targets[TARGET].version if TARGET in active.targets else None


def promote_three(run_dir: Path, skills: tuple[float, float]) -> SmallRun:
    """v000001, v000002 and v000003, each better than the one before."""
    run = SmallRun(run_dir, targets=(TARGET,))
    run.run(1)
    for iteration, skill in enumerate(skills, start=2):
        requests.drop(run.run_dir, Request(str(iteration), 1, Action.ENQUEUE, TARGET, params={"skill": skill}))
        run.run(iteration)
    assert all(line.promoted for line in lines(run))
    return run


def in_a_contest(run: SmallRun, then: Callable[[], object]) -> None:
    """The next iteration is a better candidate; `then` happens before its contest is played."""
    requests.drop(run.run_dir, Request("better", 1, Action.ENQUEUE, TARGET, params={"skill": 1.0}))

    def work(folder: str) -> int:
        if (Path(folder) / "duel.json").exists() and not (run.run_dir / "serving").exists():
            then()
        return worker.main(folder)

    run.run(4, worker_main=work)


def server_goes_back(
    run_dir: Path,
    target: str,
    back_to: str | None = "before",
    version: str | None = None,
    cause: Cause = Cause.DEGRADED,
    rollback_id: str = "server-1",
) -> ServerRollback:
    """The server rolls a version back, by default from the incumbent to the one before it."""
    known = known_targets(run_dir)[target]
    assert known.incumbent is not None
    name = version or known.incumbent.name
    entry = ServerRollback(
        id=rollback_id,
        target=target,
        version=name,
        model_sha256=known.versions[name].model_sha256,
        back_to=known.ways_back[0] if back_to == "before" else back_to,
        cause=cause,
        detail="score .31 after .52 over 640 pairs",
        at="2000-01-01T00:00:00Z",
    )
    RollbackFile(run_dir).append(entry)
    return entry
