"""One trial between its proposal and its commit: launched, watched, tried again, until its files say how it ended.

Everything decided here is written into the trial's folder first, so that a restarted supervisor finds it and goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from supervisor.contract import DuelResult, Json, Reason, Status, TrialResult, TrialSpec
from supervisor.execution import attempts
from supervisor.execution.device import AUTO, CPU, OUR_TORCH, WHATEVER, Device
from supervisor.execution.executor import Executor, Exit, ExitKind, Launch
from supervisor.execution.room import Want, share_of
from supervisor.journal.trial_folder import TrialFolder

ENDS_THE_TRIAL = {
    ExitKind.OUT_OF_MEMORY: Reason.OUT_OF_MEMORY,
    ExitKind.WALL_TIME: Reason.WALL_TIME,
    ExitKind.GPU_TIME: Reason.GPU_TIME,
}
COUNTS_AS_ATTEMPT = {
    ExitKind.CRASHED: Reason.CRASHED,
    ExitKind.HUNG: Reason.HUNG,
    ExitKind.LOST: Reason.CRASHED,
    ExitKind.DONE: Reason.CRASHED,  # left well but without a result
}
WANTS = {  # of the machine: no fault of the trial, which goes on after a pause
    ExitKind.DISK_FULL: "disk full",
    ExitKind.REFUSED: "no process can be made",
    ExitKind.STORE_SILENT: "the experience store does not answer",
}
DETAIL_CHARACTERS = 2000  # of free text that a line keeps


@dataclass
class Flight:
    """A proposed trial. `handle` is set while a process of it runs."""

    spec: TrialSpec
    folder: TrialFolder
    started_at: str
    handle: str | None = None
    exits: list[dict[str, Json]] = field(default_factory=list)
    trained_under: dict[str, Json] = field(default_factory=dict)  # library versions that its saved state comes from
    trained_on: dict[str, Json] = field(default_factory=dict)  # the GPU that its build had last, as a fact tells it
    device: Device = Device()  # that its process is shown, or was shown last
    group: tuple[int, ...] = ()  # other iterations whose trainings its process does too, at first
    rests_until_s: float = 0.0  # by the monotonic clock: the machine had no room or no process for it

    @classmethod
    def take_up(cls, spec: TrialSpec, folder: TrialFolder, started_at: str) -> Flight:
        """The trial as its folder describes it, with what earlier processes of it left behind."""
        facts = folder.facts()
        versions = [fact["versions"] for fact in facts if fact["fact"] == "versions"]
        last = versions[-1] if versions else None
        gpus = [fact for fact in facts if fact["fact"] == "device"]
        return cls(
            spec,
            folder,
            started_at,
            exits=[fact for fact in facts if fact["fact"] == "exit"],
            trained_under=last if isinstance(last, dict) else dict(spec.versions),
            trained_on=gpus[-1] if gpus else {},
        )

    @property
    def stage(self) -> str:
        return "duel" if self.folder.duel() is not None else "build"

    @property
    def stage_done(self) -> bool:
        """Whether the present stage has its result."""
        if self.spec.purpose == "manual":
            return True
        return (self.folder.duel_result() if self.stage == "duel" else self.folder.result()) is not None

    @property
    def waits_for_commit(self) -> bool:
        """Whether no process is needed before this trial's turn to commit comes."""
        return self.handle is None and self.stage_done

    @property
    def waits_for_process(self) -> bool:
        return self.handle is None and not self.stage_done

    @property
    def awaits_store(self) -> bool:
        """Whether it rests until the store of experiences answers. Another trial may have its worker meanwhile."""
        return bool(self.exits) and self.exits[-1]["kind"] == ExitKind.STORE_SILENT and self.waits_for_process

    @property
    def times_in_want(self) -> int:
        """How many of its processes in a row ended because the machine had no room or no process for them."""
        kinds = [fact["kind"] for fact in self.exits]
        return len(kinds) - max((n for n, kind in enumerate(kinds, start=1) if kind not in WANTS), default=0)

    @property
    def leads(self) -> bool:
        """Whether its process is still at the trainings of a group."""
        return self.handle is not None and bool(self.group) and self.folder.has_group

    @property
    def want(self) -> Want:
        """What the process of the present stage is to compute on. A build goes on on the kind of GPU that it began on:
        other kinds of devices give other bits. The games of our own networks are played on the CPU."""
        device, began_on = self.spec.device, self.trained_on.get("name")
        if self.spec.kind in OUR_TORCH and (self.stage == "duel" or device == AUTO):  # auto: of an earlier program
            return Want(CPU)
        return Want(device, began_on if isinstance(began_on, str) and device != AUTO else None)

    def start_over_on(self, device: str) -> None:
        """Another kind of device would not go on bit by bit from what was saved."""
        self.folder.forget_resume_point()
        self.folder.add_fact("device", device=device)
        self.trained_on = {"fact": "device", "device": device}
        self.spec = replace(self.spec, device=device)
        self.folder.keep(self.spec)

    def launch(self, executor: Executor, at_once: int, group: tuple[int, ...] = (), device: Device = WHATEVER) -> None:
        """Start the process of the present stage on `device`; so many share one GPU. What earlier ones used is gone: of
        the wall budget those of this stage, of the GPU's seconds those of the whole trial. With a group to train, the
        process may take as long as that many would."""
        self.folder.keep(self.spec)
        self.note_device(device)
        self.folder.write_group(group)
        used_s = sum(_own_seconds(fact) for fact in self.exits if fact["stage"] == self.stage)
        budget = attempts.remaining(share_of(self.spec.budget, at_once), used_s, self.gpu_s)
        launch = Launch(
            folder=self.folder.path,
            iteration=self.spec.iteration,
            budget=replace(budget, wall_s=budget.wall_s + len(group) * self.spec.budget.wall_s),
            stage=self.stage,
            device=device,
        )
        self.handle = executor.submit(launch)
        self.group, self.device = group, device

    def note_device(self, device: Device) -> None:
        """Make it a durable fact which GPU a build is on, before it saves anything there, in another's process too."""
        if device.gpu is None or self.stage == "duel":
            return
        told: dict[str, Json] = {"device": device.gpu.device, "gpu": device.gpu.visible, "name": device.gpu.name}
        if {name: self.trained_on.get(name) for name in told} != told:
            self.folder.add_fact("device", **told)
            self.trained_on = {"fact": "device", **told}

    @property
    def on(self) -> str:
        """The device of its process."""
        return CPU if self.device.gpu is None else self.device.gpu.device

    @property
    def gpu_s(self) -> float:
        """Seconds that its ended processes held the GPU."""
        return sum(_number(fact, "gpu_s") for fact in self.exits)

    def landed(self, ended: Exit) -> None:
        """Make the end of a process a durable fact. `conclude` says what follows from it: nothing where it was still at
        the trainings of its group, for then it is not known whose fault it was."""
        shared = self.leads
        fact: dict[str, Json] = {
            "stage": self.stage,
            "kind": ended.kind.value,
            "seconds": round(ended.duration_s, 3),
            "peak_ram_mb": ended.peak_ram_mb,
            "gpu_s": round(ended.gpu_s, 3),
            "peak_vram_mb": ended.peak_vram_mb,
            "mark": self.folder.progress_mark(),
            "counts": ended.kind in COUNTS_AS_ATTEMPT and not self.stage_done and not shared,
            "detail": ended.detail[-DETAIL_CHARACTERS:],
        }
        if self.group:
            fact |= {"group": list(self.group), "shared": shared}
        self.folder.add_fact("exit", **fact)
        self.exits.append({"fact": "exit", **fact})
        self.handle = None

    def conclude(self) -> None:
        """Write the stage's result where its last process ended without one and no further attempt is due.

        Follows from the facts alone, so a supervisor that was killed after writing them comes to the same end.
        """
        if not self.exits or self.exits[-1]["stage"] != self.stage or self.stage_done:
            return
        last = self.exits[-1]
        if last.get("shared"):
            return
        kind = ExitKind(str(last["kind"]))
        reason = ENDS_THE_TRIAL.get(kind)
        if reason is None and last["counts"] and self._out_of_attempts():
            reason = COUNTS_AS_ATTEMPT[kind]
        if reason is not None:
            self.fail(reason, str(last["detail"]))

    def _out_of_attempts(self) -> bool:
        return attempts.exhausted([(str(fact["mark"]), bool(fact["counts"])) for fact in self.exits])

    def fail(self, reason: Reason, detail: str) -> None:
        """End the present stage with a result that says why there is no better one."""
        status = Status.OUT_OF_BUDGET if reason in ENDS_THE_TRIAL.values() else Status.FAILED
        if reason is Reason.OUT_OF_RANGE:
            status = Status.INVALID
        if self.stage == "duel":
            self.folder.write_duel_result(
                DuelResult(self.spec.iteration, status, reason, decision=None, detail=detail[-DETAIL_CHARACTERS:])
            )
        else:
            self.folder.write_result(
                TrialResult(
                    self.spec.iteration, status, reason, params=self.spec.params, detail=detail[-DETAIL_CHARACTERS:]
                )
            )

    def time_used(self) -> dict[str, Json]:
        """The measured part of the log line that processes account for."""
        seconds = sum(_number(fact, "seconds") for fact in self.exits)
        on = {} if self.spec.purpose == "manual" else {"device": self._trained_on_what()}
        return {
            **on,
            "duration_s": round(seconds, 3),
            "attempts": max(1, sum(1 for fact in self.exits if fact["counts"]) + 1),
            "peak_ram_mb": max((_number(fact, "peak_ram_mb") for fact in self.exits), default=0),
            "gpu_seconds": round(self.gpu_s, 3),
            "peak_vram_mb": max((_number(fact, "peak_vram_mb") for fact in self.exits), default=0),
        }

    def _trained_on_what(self) -> str:
        """For people and for whoever compares lines: `cpu`, or which GPU. One that was free held some of its memory."""
        if not self.trained_on or (self.spec.device == AUTO and not self.gpu_s):
            return CPU
        return f"{self.trained_on['device']} {self.trained_on.get('name', '')}".strip()


def _own_seconds(fact: dict[str, Json]) -> float:
    """Of a process, what the trial's own work took: of a group's trainings its part."""
    if fact["kind"] in WANTS or fact.get("shared"):  # such an end decides nothing
        return 0.0
    group = fact.get("group")
    return _number(fact, "seconds") / (1 + len(group) if isinstance(group, list) else 1)


def _number(fact: dict[str, Json], name: str) -> float:
    value = fact.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
