"""What a finished trial means: results and the target's state become a verdict, the verdict a log line. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from supervisor.contract import (
    Decision,
    DuelResult,
    Guard,
    Json,
    Outcome,
    Reason,
    Status,
    Tally,
    TrialResult,
    TrialSpec,
    Version,
)
from supervisor.record import Record
from supervisor.registry.server_rollbacks import Cause, ServerRollback, is_known
from supervisor.state import TargetState

REASONS = {
    Cause.MANUAL: Reason.MANUAL_ROLLBACK,
    Cause.DEGRADED: Reason.DEGRADED,
    Cause.HARD_FAULT: Reason.HARD_FAULT,
}
MINIMUM_GAIN = 1e-6  # a promotion's `improvement` is never 0, so that counting lines above 0 counts promotions


@dataclass(frozen=True)
class Verdict:
    """The decision on one iteration, and the target's measured pool and version after it."""

    decision: Decision
    pool: Tally
    promoted: bool = False
    version: Version | None = None
    improvement: float = 0.0
    status: Status = Status.COMPLETE
    guards: Mapping[str, Guard] = field(default_factory=dict)
    rollbacks: tuple[str, ...] = ()


def version_name(iteration: int) -> str:
    return f"v{iteration:06d}"


def needs_duel(result: TrialResult, target: TargetState, contender: bool) -> bool:
    """Whether the candidate plays the paired test: it earned it, there is somebody to play, and it is somebody else."""
    if result.status is not Status.COMPLETE or not contender or target.incumbent is None:
        return False
    return result.model_sha256 != target.incumbent.model_sha256


def decide(
    spec: TrialSpec,
    result: TrialResult,
    duel: DuelResult | None,
    target: TargetState,
    screen: tuple[bool, Reason],
    guards: Mapping[str, Guard],
    manual_mode: bool,
) -> Verdict:
    """The verdict on a trial that ran. `screen` is the contender rule's answer, `target` the state before this line."""
    pool = _topped_up(spec, result, target)
    if result.status is not Status.COMPLETE:
        reason = result.reason or Reason.CRASHED
        return Verdict(_untested(Outcome.REJECT, reason), pool, status=result.status)
    if target.incumbent is None:
        return _first(spec, result, target, guards)
    if result.model_sha256 == target.incumbent.model_sha256:
        return Verdict(_untested(Outcome.REJECT, Reason.SAME_VERSION), pool)
    contender, why_not = screen
    if not contender:
        return Verdict(_untested(Outcome.REJECT, why_not), pool)
    assert duel is not None
    if duel.decision is None:
        reason = duel.reason or Reason.CRASHED
        return Verdict(_untested(Outcome.INCONCLUSIVE, reason), pool, status=duel.status)
    return _tested(spec, result, duel, target, guards, manual_mode, pool)


def _tested(
    spec: TrialSpec,
    result: TrialResult,
    duel: DuelResult,
    target: TargetState,
    guards: Mapping[str, Guard],
    manual_mode: bool,
    pool: Tally,
) -> Verdict:
    decision = duel.decision
    assert decision is not None
    if decision.outcome is not Outcome.PROMOTE:
        return Verdict(decision, pool)
    if any(not guard.passed for guard in guards.values()):
        refused = replace(decision, outcome=Outcome.REJECT, reason=Reason.GUARD_FAILED)
        return Verdict(refused, pool, guards=guards)
    made = _version(spec, result)
    if _was_rolled_back(made, target):
        return Verdict(replace(decision, outcome=Outcome.REJECT, reason=Reason.ROLLED_BACK), pool, guards=guards)
    if manual_mode:
        waiting = replace(decision, outcome=Outcome.INCONCLUSIVE, reason=Reason.AWAITING_OPERATOR)
        return Verdict(waiting, pool, version=made, guards=guards)
    return Verdict(
        decision,
        pool=duel.measured_candidate,
        promoted=True,
        version=made,
        improvement=max(duel.measured_gain or 0.0, MINIMUM_GAIN),
        guards=guards,
    )


def _first(spec: TrialSpec, result: TrialResult, target: TargetState, guards: Mapping[str, Guard]) -> Verdict:
    """Nothing to compare with: the candidate becomes the incumbent if the technical guards hold."""
    reason = Reason.BASELINE if spec.purpose == "baseline" else Reason.NO_INCUMBENT
    if any(not guard.passed for guard in guards.values()):
        return Verdict(_untested(Outcome.REJECT, Reason.GUARD_FAILED), Tally(), guards=guards)
    made = _version(spec, result)
    if _was_rolled_back(made, target):
        return Verdict(_untested(Outcome.REJECT, Reason.ROLLED_BACK), Tally(), guards=guards)
    return Verdict(
        _untested(Outcome.PROMOTE, reason),
        pool=result.candidate,
        promoted=True,
        version=made,
        guards=guards,
    )


def decide_gone(target: TargetState) -> Verdict:
    """The version that a contest was played against is no longer the incumbent: it proves nothing about this one."""
    return Verdict(_untested(Outcome.INCONCLUSIVE, Reason.INCUMBENT_GONE), target.pool)


def decide_manual(spec: TrialSpec, target: TargetState, has_files: Callable[[Version], bool]) -> Verdict:
    """An operator's promotion or rollback: the version named by the fact becomes the incumbent, if it is known and
    retention has left its files."""
    request = spec.facts[0]
    name = request.get("version")
    seen = request.get("seen")
    if seen is not None and target.incumbent is not None and seen != target.incumbent.name:
        return _refused(target, Reason.INCUMBENT_GONE)
    rollback = request.get("action") == "rollback"
    if rollback and name is None:
        name = next(iter(target.ways_back), None)
    version = target.versions.get(str(name))
    if version is None or (rollback and target.incumbent is None):
        return _refused(target, Reason.UNKNOWN_VERSION)
    if version.name in target.rolled_back:
        return _refused(target, Reason.ROLLED_BACK)
    if target.incumbent is not None and version.name == target.incumbent.name:
        return _refused(target, Reason.SAME_VERSION)
    if not has_files(version):
        return _refused(target, Reason.FILE_GONE)
    if rollback:
        return _gone_back(target, version, Reason.MANUAL_ROLLBACK)
    return _changed(target, version, Reason.MANUAL_PROMOTION)


def decide_rolled_back(rollback: ServerRollback, target: TargetState, has_files: Callable[[Version], bool]) -> Verdict:
    """The server has gone back already. The target follows, unless another version is its incumbent by now; the version
    rolled back never comes back either way."""
    if not is_known(rollback, target):
        return _refused(target, Reason.UNKNOWN_VERSION)
    if target.incumbent is None or target.incumbent.name != rollback.version:
        late = Decision("manual", Outcome.REJECT, Reason.INCUMBENT_GONE)
        return Verdict(late, target.pool, rollbacks=(rollback.version,))
    return _gone_back(target, _way_back(rollback, target, has_files), REASONS[rollback.cause])


def _way_back(rollback: ServerRollback, target: TargetState, has_files: Callable[[Version], bool]) -> Version | None:
    """Where the server went; the next one before it where that cannot be served from this folder."""
    names = [] if rollback.back_to is None else [rollback.back_to, *target.ways_back]
    never = {rollback.version, *target.rolled_back}
    known = (target.versions[name] for name in names if name in target.versions and name not in never)
    return next((version for version in known if has_files(version)), None)


def _gone_back(target: TargetState, version: Version | None, reason: Reason) -> Verdict:
    """To the version; None: the target has no incumbent any more."""
    assert target.incumbent is not None
    return replace(_changed(target, version, reason), promoted=False, rollbacks=(target.incumbent.name,))


def _changed(target: TargetState, version: Version | None, reason: Reason) -> Verdict:
    pool = target.pools.get(version.name, Tally()) if version is not None else Tally()
    return Verdict(Decision("manual", Outcome.PROMOTE, reason), pool, promoted=True, version=version)


def _refused(target: TargetState, reason: Reason) -> Verdict:
    return Verdict(Decision("manual", Outcome.REJECT, reason), target.pool, status=Status.INVALID)


def _untested(outcome: Outcome, reason: Reason) -> Decision:
    return Decision("none", outcome, reason)


def _version(spec: TrialSpec, result: TrialResult) -> Version:
    assert result.model_sha256 is not None
    return Version(
        name=version_name(spec.iteration),
        iteration=spec.iteration,
        params=result.params,
        model_sha256=result.model_sha256,
        weights_sha256=result.weights_sha256,
        interface=result.interface,
        level=spec.level,
    )


def _was_rolled_back(made: Version, target: TargetState) -> bool:
    """The same bytes, or the same weights, under another name are the same version."""
    known = (target.versions[name] for name in target.rolled_back if name in target.versions)
    return any(
        version.model_sha256 == made.model_sha256
        or (made.weights_sha256 is not None and version.weights_sha256 == made.weights_sha256)
        for version in known
    )


def _topped_up(spec: TrialSpec, result: TrialResult, target: TargetState) -> Tally:
    """The pool with the trial's fresh games of the incumbent, if that is still the incumbent."""
    if spec.incumbent is None or target.incumbent is None or spec.incumbent.name != target.incumbent.name:
        return target.pool
    pool, fresh = target.pool, result.topup
    return Tally(pool.wins + fresh.wins, pool.draws + fresh.draws, pool.losses + fresh.losses)


def record_of(
    run_id: str,
    spec: TrialSpec,
    result: TrialResult,
    duel: DuelResult | None,
    target: TargetState,
    verdict: Verdict,
    next_level: int,
    time: Mapping[str, Json],
) -> Record:
    """The log line, still without its chain. Of a guard on a measured latency it keeps the verdict alone."""
    version = verdict.version
    return Record(
        run_id=run_id,
        iteration=spec.iteration,
        target=spec.target,
        archetype=spec.archetype,
        model_type=spec.model_type,
        study=spec.target,
        trial=target.iterations,
        sampler=spec.sampler,
        purpose=spec.purpose,
        seed=spec.seeds.get("train", 0),
        level=spec.level,
        params=version.params if version else (result.params or spec.params),
        changed=spec.changed,
        status=verdict.status,
        reason=verdict.decision.reason,
        games=result.games + (duel.games if duel else 0),
        wins=result.candidate.wins,
        draws=result.candidate.draws,
        losses=result.candidate.losses,
        win_rate=result.candidate.rate if verdict.status is Status.COMPLETE else None,
        best_win_rate=verdict.pool.rate,
        improvement=verdict.improvement,
        delta=result.delta,
        promoted=verdict.promoted,
        version=version.name if version else None,
        model_sha256=version.model_sha256 if version else result.model_sha256,
        weights_sha256=version.weights_sha256 if version else result.weights_sha256,
        steps=result.steps,
        decision=verdict.decision,
        frequency=spec.frequency,
        against=spec.incumbent.name if spec.incumbent else None,
        start=spec.start.name if spec.start else None,
        next_level=next_level,
        interface=version.interface if version else result.interface,
        guards={name: _logged(name, guard) for name, guard in verdict.guards.items()},
        metrics=result.metrics,
        pool=verdict.pool,
        confirmation=result.confirmation,
        search=spec.search,
        rollbacks=verdict.rollbacks,
        requests=tuple(str(fact["id"]) for fact in spec.facts if "id" in fact),
        lesson=spec.lesson,
        time=time,
    )


def _logged(name: str, guard: Guard) -> Guard:
    return Guard(None, 0.0, guard.passed) if name.startswith("latency") else guard
