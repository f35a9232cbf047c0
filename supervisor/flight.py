"""One trial between its proposal and its commit: launched, watched, tried again, until its files say how it ended.

Everything decided here is written into the trial's folder first, so that a restarted supervisor finds it and goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from supervisor.contract import DuelResult, Json, Reason, Status, TrialResult, TrialSpec
from supervisor.execution import attempts
from supervisor.execution.executor import Executor, Exit, ExitKind, Launch
from supervisor.journal.trial_folder import TrialFolder

ENDS_THE_TRIAL = {ExitKind.OUT_OF_MEMORY: Reason.OUT_OF_MEMORY, ExitKind.WALL_TIME: Reason.WALL_TIME}
COUNTS_AS_ATTEMPT = {
    ExitKind.CRASHED: Reason.CRASHED,
    ExitKind.HUNG: Reason.HUNG,
    ExitKind.LOST: Reason.CRASHED,
    ExitKind.DONE: Reason.CRASHED,  # left well but without a result
}


@dataclass
class Flight:
    """A proposed trial. `handle` is set while a process of it runs."""

    spec: TrialSpec
    folder: TrialFolder
    started_at: str
    handle: str | None = None
    exits: list[dict[str, Json]] = field(default_factory=list)

    @classmethod
    def take_up(cls, spec: TrialSpec, folder: TrialFolder, started_at: str) -> Flight:
        """The trial as its folder describes it, with what earlier processes of it left behind."""
        return cls(spec, folder, started_at, exits=[fact for fact in folder.facts() if fact["fact"] == "exit"])

    @property
    def stage(self) -> str:
        return "duel" if self.folder.duel() is not None else "build"

    @property
    def stage_done(self) -> bool:
        """Whether the present stage has its result."""
        if self.spec.purpose == "manual":
            return True
        return (self.folder.duel_result() if self.stage == "duel" else self.folder.result()) is not None

    def launch(self, executor: Executor) -> None:
        """Start the process of the present stage; what earlier ones used of the wall budget is gone."""
        used_s = sum(_number(fact, "seconds") for fact in self.exits if fact["stage"] == self.stage)
        launch = Launch(
            folder=self.folder.path,
            iteration=self.spec.iteration,
            budget=attempts.remaining(self.spec.budget, used_s),
            stage=self.stage,
        )
        self.handle = executor.submit(launch)

    def landed(self, ended: Exit) -> None:
        """Make the end of a process a durable fact and, where no further attempt is due, a result."""
        self.handle = None
        mark = self.folder.progress_mark()
        kind = ended.kind
        counts = kind in COUNTS_AS_ATTEMPT and not self.stage_done
        fact: dict[str, Json] = {
            "stage": self.stage,
            "kind": kind.value,
            "seconds": round(ended.duration_s, 3),
            "peak_ram_mb": ended.peak_ram_mb,
            "mark": mark,
            "counts": counts,
            "detail": ended.detail[-2000:],
        }
        self.folder.add_fact("exit", **fact)
        self.exits.append({"fact": "exit", **fact})
        if self.stage_done:
            return
        reason = ENDS_THE_TRIAL.get(kind)
        if reason is None and counts and self._out_of_attempts():
            reason = COUNTS_AS_ATTEMPT[kind]
        if reason is not None:
            self._fail(reason, ended.detail)

    def _out_of_attempts(self) -> bool:
        return attempts.exhausted([(str(fact["mark"]), bool(fact["counts"])) for fact in self.exits])

    def _fail(self, reason: Reason, detail: str) -> None:
        status = Status.OUT_OF_BUDGET if reason in ENDS_THE_TRIAL.values() else Status.FAILED
        if self.stage == "duel":
            self.folder.write_duel_result(
                DuelResult(self.spec.iteration, status, reason, decision=None, detail=detail[-2000:])
            )
        else:
            self.folder.write_result(
                TrialResult(self.spec.iteration, status, reason, params=self.spec.params, detail=detail[-2000:])
            )

    def time_used(self) -> dict[str, Json]:
        """The measured part of the log line that processes account for."""
        seconds = sum(_number(fact, "seconds") for fact in self.exits)
        return {
            "duration_s": round(seconds, 3),
            "attempts": max(1, sum(1 for fact in self.exits if fact["counts"]) + 1),
            "peak_ram_mb": max((_number(fact, "peak_ram_mb") for fact in self.exits), default=0),
        }


def _number(fact: dict[str, Json], name: str) -> float:
    value = fact.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
