"""Three processes of one trial killed before they saved anything: the trial fails for that reason, the run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from supervisor.contract import Reason, Status
from supervisor.execution.attempts import MAX_ATTEMPTS
from supervisor.journal import durable
from supervisor.journal.log import LOG_NAME, read_log
from supervisor.journal.recovery import recover
from supervisor.journal.trial_folder import TrialFolder
from supervisor.registry.active import ActiveFile
from supervisor.state import State, fold_all
from tests.faults.cell import TIER_B, Cell, PromiseBrokenError
from tests.faults.real_stage import Stage, alone_on
from tests.faults.real_work import LIMIT_S, Work

PROMISE = "the trial is recorded as crashed, the run goes on, log, snapshot, models and active.json agree"
AFTER = 2  # lines: both targets have an incumbent


def check(work: Work, kind: str, folder: Path) -> int:
    patient = replace(work, save_interval_s=1000.0)  # nothing is saved before the training's end
    with alone_on(patient.stage(folder)) as stage:
        stage.start()
        log = stage.run_dir / LOG_NAME
        stage.watch(lambda: log.exists() and log.read_bytes().count(b"\n") >= AFTER)
        for number in range(1, MAX_ATTEMPTS + 1):
            stage.watch(partial(_struck, stage, kind))
            stage.watch(partial(_ended, stage, number))
        stage.watch()
        stage.leave()
    records = read_log(stage.run_dir).records
    ends = [(record.iteration, record.status, record.reason) for record in records if record.status != Status.COMPLETE]
    if len(records) != work.iterations or ends != [(AFTER + 1, Status.FAILED, Reason.CRASHED)]:
        raise PromiseBrokenError(f"{len(records)} lines, not complete are {ends}")
    assert_invariants(stage.run_dir)
    return MAX_ATTEMPTS


def _struck(stage: Stage, kind: str) -> bool:
    """Once a process of the trial is there."""
    return bool(stage.present("trial")) and stage.strike(kind) > 0


def _ended(stage: Stage, number: int) -> bool:
    facts = TrialFolder.of(stage.run_dir, AFTER + 1).facts()
    return sum(fact["fact"] == "exit" for fact in facts) >= number


def assert_invariants(run_dir: Path) -> None:
    """What holds of a finished run whatever its trials came to."""
    records = read_log(run_dir).records
    assert [record.iteration for record in records] == list(range(1, len(records) + 1))
    recovered = recover(run_dir, records[0].run_id, 1)
    assert recovered.notes == (), recovered.notes
    assert recovered.state == fold_all(State(), records), "snapshot and log disagree"
    targets = recovered.state.targets
    incumbents = {key: target.incumbent for key, target in targets.items() if target.incumbent is not None}
    assert ActiveFile.read(run_dir) == ActiveFile.of(incumbents)
    versions = [version for target in targets.values() for version in target.versions.values()]
    files = {f"{version.model_sha256}.onnx" for version in versions}
    files |= {f"{version.weights_sha256}.pt" for version in versions}
    found = {path.name for path in (run_dir / "models").iterdir()} - {"active.json"}
    assert found == files, found ^ files
    for name in found:
        assert durable.sha256_file(run_dir / "models" / name) == name.partition(".")[0], f"{name} is damaged"


def points(folder: Path) -> Sequence[str]:
    return ("trial", "fork server")


def cells(work: Work) -> list[Cell]:
    return [Cell("real: attempts exhausted", TIER_B, PROMISE, points, partial(check, work), limit_s=LIMIT_S)]
