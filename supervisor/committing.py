"""From a trial whose files are complete to the next state: store the model, append the line, fold, project."""

from __future__ import annotations

from supervisor.console import rollback_for_people
from supervisor.contract import DuelResult, DuelSpec, Json, Reason, Status, TrialResult, TrialSpec
from supervisor.curriculum import Step, at_level, step_after
from supervisor.deciding import Verdict, decide, decide_gone, decide_manual, decide_rolled_back, needs_duel, record_of
from supervisor.errors import TryAgainError
from supervisor.flight import Flight
from supervisor.intake import rollback_in
from supervisor.journal import checkpoint
from supervisor.journal.log import Log, LogRewrittenError, encode
from supervisor.journal.log_scan import scan_log
from supervisor.journal.recovery import MOST_HELD
from supervisor.memory import Memory
from supervisor.parts import Parts
from supervisor.promotion import contenders, elond, guards
from supervisor.record import Record
from supervisor.registry import server_rollbacks
from supervisor.registry.store import MODEL_SUFFIX, WEIGHTS_SUFFIX, DamagedFileError
from supervisor.rules import Rules
from supervisor.state import TargetState

OPPONENT_FACT = "opponent_rolled_back"  # by the server, while a contest against it was played


class Committer:
    """The one way a line gets into the log, and what follows from it."""

    def __init__(self, parts: Parts, memory: Memory, log: Log) -> None:
        self._parts = parts
        self._memory = memory
        self._log = log

    def duel_for(self, flight: Flight) -> DuelSpec | None:
        """The contest that the trial's candidate has earned against the incumbent of this moment, if any."""
        spec, result = flight.spec, flight.folder.result()
        if spec.purpose == "manual" or result is None:
            return None
        target = self._memory.state.target(spec.target)
        contender, _ = self._screen(spec, result)
        if not needs_duel(result, target, contender):
            return None
        assert target.incumbent is not None
        rules = Rules.from_json(spec.rules)
        return DuelSpec(
            iteration=spec.iteration,
            incumbent=target.incumbent,
            plan=elond.plan_for(rules.promotion, target.tests, target.promotions),
            measure_pairs=rules.measure_pairs,
        )

    def commit(self, flight: Flight) -> Record:
        """Make the iteration part of the run. On return the line is durable and the state is after it; when it raises
        neither is."""
        spec = flight.spec
        target = at_level(self._memory.state.target(spec.target), spec.level)
        result, duel = _results(flight)
        verdict = self._verdict(flight, result, duel, target)
        self._store(flight, verdict)
        step = _step(spec, target, verdict, result)
        time = self._time(flight, result, duel)
        record = record_of(self._parts.identity.run_id, spec, result, duel, target, verdict, step.level, time)
        if not self._parts.lock.check():
            reason = (
                "supervisor.lock was deleted or replaced by somebody; it is there again, and nobody came in meanwhile"
            )
            self._parts.events.write("lock_restored", reason)
        line = self._append(record)
        self._memory.add(line)
        if step.reason:
            self._parts.events.write(
                "level_raised", f"{line.target} goes on at level {step.level}: {step.reason} of level {line.level}"
            )
        return line

    def catch_up(self) -> None:
        """What following up on the last line may have left undone, but for the projections."""
        for line in list(self._memory.latest)[-1:]:
            self._tell_rollback(line)

    def follow_up(self, line: Record) -> None:
        """What follows from a committed line; done again from the start where it was cut short."""
        self._parts.projections.committed(line, self._memory.state)
        self._tell_rollback(line)
        due = line.iteration == 1 or line.iteration % self._parts.settings.run.checkpoint_interval == 0
        if due or len(self._memory.since_snapshot) >= MOST_HELD:
            self.snapshot()

    def snapshot(self) -> None:
        identity = self._parts.identity
        taken = self._memory.snapshot(identity.run_id, identity.seed, dict(self._parts.versions))
        checkpoint.save(self._parts.run_dir, taken)
        self._memory.since_snapshot.clear()
        self._memory.snapshot_due = False

    def _screen(self, spec: TrialSpec, result: TrialResult) -> tuple[bool, Reason]:
        rules = Rules.from_json(spec.rules)
        return contenders.is_contender(rules.contenders, spec.purpose, result.delta, rules.promotion.min_improvement)

    def _verdict(self, flight: Flight, result: TrialResult, duel: DuelResult | None, target: TargetState) -> Verdict:
        spec = flight.spec
        if spec.purpose == "manual":
            told = rollback_in(spec.facts)
            if told is not None:
                return decide_rolled_back(told, target, self._parts.store.has)
            return decide_manual(spec, target, self._parts.store.has)
        promotion = Rules.from_json(spec.rules).promotion
        held = guards.evaluate(promotion.guards, spec.model_type, result, duel, first=target.incumbent is None)
        if self._lost_its_opponent(flight, target):
            return decide_gone(target)
        return decide(spec, result, duel, target, self._screen(spec, result), held, promotion.mode == "manual")

    def _lost_its_opponent(self, flight: Flight, target: TargetState) -> bool:
        """Whether the version that the contest was played against is out, here or with the server: that is a fact."""
        contest = flight.folder.duel()
        if contest is None:
            return False
        name = contest.incumbent.name
        if target.incumbent is None or target.incumbent.name != name:
            return True
        if any(fact["fact"] == OPPONENT_FACT for fact in flight.folder.facts()):
            return True
        found = server_rollbacks.read(self._parts.run_dir)
        waiting = server_rollbacks.judge(found.entries, {flight.spec.target: target}).waiting
        entry = next((entry for entry in waiting if entry.version == name), None)
        if entry is not None:
            flight.folder.add_fact(OPPONENT_FACT, id=entry.id, version=name)
        return entry is not None

    def _tell_rollback(self, line: Record) -> None:
        if line.rollbacks:
            reason = rollback_for_people(line, self._memory.state.target(line.target).incumbent)
            key = line.requests[0] if line.requests else line.chain
            self._parts.events.write_once("rollback", reason, key, target=line.target, iteration=line.iteration)

    def _store(self, flight: Flight, verdict: Verdict) -> None:
        """A version's files are in the registry before the line that names them."""
        version = verdict.version
        if version is None or flight.spec.purpose == "manual" or version.interface is None:
            return
        try:
            self._parts.store.put(flight.folder.model, version.model_sha256, MODEL_SUFFIX)
            if version.weights_sha256 is not None:
                self._parts.store.put(flight.folder.weights, version.weights_sha256, WEIGHTS_SUFFIX)
        except (DamagedFileError, FileNotFoundError, IsADirectoryError) as error:
            raise TryAgainError(f"{error}; start again: iteration {flight.spec.iteration} builds it again") from error

    def _append(self, record: Record) -> Record:
        try:
            return self._log.commit(record)
        except LogRewrittenError:
            self._accept_rewritten_log()
            return self._log.commit(record)

    def _accept_rewritten_log(self) -> None:
        ours = self._memory.since_snapshot
        held = scan_log(self._parts.run_dir, after=ours[0].iteration - 1 if ours else None, latest=0)
        if (held.last or 0) > self._memory.state.iteration:
            raise TryAgainError(
                f"{self._log.path} holds iteration {held.last}, which this supervisor did not write: another"
                " one works in the same folder; started again from disk"
            )
        there = {record.iteration: record for record in held.records}
        missing = [line for line in ours if not _same(there.get(line.iteration), line)]
        self._log.restore(missing)
        self._memory.log_was_rewritten()
        self._parts.events.write(
            "log_rewritten",
            f"the log was shortened, moved or rotated by somebody; {len(missing)} lines newer than the snapshot were"
            f" written again, {held.count} lines are there",
        )
        self.snapshot()  # who cleared the log away may have cleared away the one before

    def _time(self, flight: Flight, result: TrialResult, duel: DuelResult | None) -> dict[str, Json]:
        used = flight.time_used()
        seconds = used["duration_s"]
        games = result.games + (duel.games if duel else 0)
        rate = round(games / seconds, 1) if isinstance(seconds, int | float) and seconds > 0 else None
        detail = "; ".join(text for text in (result.detail, duel.detail if duel else "") if text)
        return {
            "started_at": flight.started_at,
            "finished_at": self._parts.clock.now_text(),
            **used,
            "games_per_s": rate,
            "latency": dict(result.latency),
            "detail": detail,
        }


def _same(held: Record | None, ours: Record) -> bool:
    return held is not None and encode(held) == encode(ours)


def _results(flight: Flight) -> tuple[TrialResult, DuelResult | None]:
    """What the trial wrote. Raises TryAgainError where somebody removed it before the trial's turn: an absent result is
    none that says so."""
    if flight.spec.purpose == "manual":
        return _nothing_run(flight.spec), None
    result, duel = flight.folder.result(), flight.folder.duel_result()
    if result is None or (duel is None and flight.stage == "duel"):
        raise TryAgainError(
            f"{flight.folder.path}: a result is missing; start again: iteration {flight.spec.iteration} makes it again"
        )
    return result, duel


def _nothing_run(spec: TrialSpec) -> TrialResult:
    """A manual iteration runs no trial; its line carries the fact alone."""
    told = rollback_in(spec.facts)
    detail = f"rolled back by the server, {told.why}" if told is not None else ""
    return TrialResult(iteration=spec.iteration, status=Status.COMPLETE, params=spec.params, detail=detail)


def _step(spec: TrialSpec, target: TargetState, verdict: Verdict, result: TrialResult) -> Step:
    """The level of what is proposed after this line."""
    rules = Rules.from_json(spec.rules)
    reward = result.metrics.get("reward") if verdict.promoted else target.reward
    return step_after(rules.curriculum, spec.level, target.next_level, rules.levels, verdict.pool, reward)
