"""What tier B disturbs: a run of the real program with real training, and the same run undisturbed."""

from __future__ import annotations

import functools
import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from supervisor.journal.log import LOG_NAME, read_log
from supervisor.registry.store import ModelStore
from tests.faults.forked import fork
from tests.faults.picture import Picture, assert_same, picture
from tests.faults.real_questions import STATE, Answer
from tests.faults.real_stage import Stage

SHORT = {
    "OMP_NUM_THREADS": "1",
    "INCUMBENT_BUDGETS__STEPS": "61440",
    "INCUMBENT_PROMOTION__ALPHA": "0.3",  # promotions come early and often
    "INCUMBENT_PROMOTION__MAX_PAIRS": "200",
    "INCUMBENT_PROMOTION__MEASURE_PAIRS": "50",
    "INCUMBENT_PROMOTION__GUARDS__MIN_WIN_RATE": "0",
    "INCUMBENT_PROMOTION__GUARDS__MAX_LATENCY_MS": "10000",  # a busy machine decides nothing
    "INCUMBENT_RUN__CHECKPOINT_INTERVAL": "2",
    "INCUMBENT_RUN__METRICS_PORT": "null",  # that it is taken would be one more durable event
}
LIMIT_S = 900.0  # of a point: on a machine that others keep busy too
BOTH = ("aggressive/combat_dqn", "mage/combat_dqn")


def nothing_more(folder: Path) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, eq=False)  # by identity: each is a constant, and its reference is made once
class Work:
    """One command line. `prepare` lays what the run needs beside its folder and gives more of the environment."""

    name: str
    iterations: int
    targets: Sequence[str] = BOTH
    flags: Sequence[str] = ("--seed", "1", "--games", "30", "--baseline-games", "20")
    environ: Mapping[str, str] = field(default_factory=lambda: SHORT)
    prepare: Callable[[Path], Mapping[str, str]] = nothing_more
    served: bool = True
    save_interval_s: float = 0.3

    def stage(self, folder: Path, iterations: int | None = None) -> Stage:
        """The run in `folder`, not yet started."""
        folder.mkdir(parents=True, exist_ok=True)
        limit = ("--max-iterations", str(iterations or self.iterations))
        return Stage(
            folder=folder,
            flags=("--targets", ",".join(self.targets), *self.flags, *limit),
            environ={**self.environ, **self.prepare(folder)},
            served=self.targets if self.served else (),
            save_interval_s=self.save_interval_s,
        )


@dataclass(frozen=True)
class Moment:
    """So many lines in the log, and so long after that."""

    lines: int
    later_s: float


@dataclass(frozen=True)
class Reference:
    """The work undisturbed: what it leaves, when it committed, where it passed durable operations."""

    expected: Picture
    committed_s: Sequence[float]  # since the start, per line
    duration_s: float
    passed: Mapping[str, int]  # place to number of passings
    answers: Mapping[str, Sequence[float]]  # "target version" to what the model makes of STATE

    def moment(self, fraction: float) -> Moment:
        """A fraction of the whole time as progress: a busy machine's clock says nothing about it."""
        at_s = fraction * self.duration_s
        lines = sum(committed_s <= at_s for committed_s in self.committed_s)
        return Moment(lines, at_s - (self.committed_s[lines - 1] if lines else 0.0))


def picture_of(folder: Path) -> Picture:
    """Of the run in the folder, wherever that lies."""
    return {name: text.replace(str(folder), "<folder>") for name, text in picture(folder / "run").items()}


@functools.cache
def reference(work: Work, scratch: Path) -> Reference:
    """Made once per process; forked children inherit it."""
    folder = scratch / f"real_{work.name.replace(' ', '_')}"
    shutil.rmtree(folder, ignore_errors=True)
    times = folder / "times.json"
    child = fork("", folder, lambda: _run_undisturbed(work, folder, times))
    _, failure = child.bury()
    if failure:
        raise RuntimeError(failure)
    measured = json.loads(times.read_text())
    return Reference(picture_of(folder), **measured)


def _run_undisturbed(work: Work, folder: Path, times: Path) -> int:
    committed_s: list[float] = []
    log = folder / "run" / LOG_NAME
    with work.stage(folder) as stage:
        stage.note_passed(folder / "passed")
        stage.start()
        started_s = time.monotonic()

        def look() -> bool:
            lines = log.read_bytes().count(b"\n") if log.exists() else 0
            committed_s.extend([time.monotonic() - started_s] * (lines - len(committed_s)))
            return False

        stage.watch(look)
        duration_s = time.monotonic() - started_s
        stage.leave()
    places = (folder / "passed").read_text().splitlines()
    found = {
        "committed_s": committed_s,
        "duration_s": duration_s,
        "passed": {place: places.count(place) for place in dict.fromkeys(places)},
        "answers": model_answers(folder / "run") if work.served else {},
    }
    times.write_text(json.dumps(found))
    return 0


def model_answers(run_dir: Path) -> dict[str, list[float]]:
    """What each version of the log whose file is still kept makes of STATE, asked without the server."""
    import onnxruntime  # starts a thread: not before the fork

    found = {}
    for record in read_log(run_dir).records:
        model = ModelStore(run_dir).path(record.model_sha256) if record.promoted and record.model_sha256 else None
        if model is not None and model.exists():
            session = onnxruntime.InferenceSession(model)
            (output,) = session.run(None, {session.get_inputs()[0].name: np.array([STATE], np.float32)})
            found[f"{record.target} {record.version}"] = output.ravel().tolist()
    return found


def assert_undisturbed(known: Reference, stage: Stage) -> None:
    """The run on the stage has left what the undisturbed one left, and its server has answered truly."""
    assert_same(picture_of(stage.folder), known.expected)
    if stage.asker is not None:
        assert_true_answers(stage.asker.answers, known.answers)


def assert_true_answers(given: Iterable[Answer], true: Mapping[str, Sequence[float]]) -> None:
    """Each answer is what the version that it names makes of the question."""
    for answer in given:
        expected = true[f"{answer.target} {answer.version}"]
        np.testing.assert_allclose(answer.outputs, expected, rtol=0, atol=1e-4, err_msg=str(answer))
