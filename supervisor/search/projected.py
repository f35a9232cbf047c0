"""What people see of a run in optuna-dashboard: a trial for each iteration, a note for each target. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from supervisor.contract import Json, Params, Reason, Scalar, Status, TrialSpec
from supervisor.promotion.wilson import wilson_interval
from supervisor.record import Record
from supervisor.search.samplers.distributions import distribution, on_grid
from supervisor.search.space import Space

METRIC = "win_rate"
RUN_KEY, ITERATION_KEY = "run_id", "iteration"  # user attributes that identify a trial
WITHOUT_TRIAL = frozenset({"manual"})  # purposes of iterations in which nothing ran


def running_trial(spec: TrialSpec, space: Space) -> FrozenTrial:
    """The iteration while it runs. Which candidate a confirmation will choose is not known yet."""
    params = {} if spec.candidates else spec.params
    attrs: dict[str, Json] = {
        RUN_KEY: spec.run_id,
        ITERATION_KEY: spec.iteration,
        "purpose": spec.purpose,
        "sampler": spec.sampler,
    }
    return _trial(TrialState.RUNNING, None, params, space, attrs, datetime.now(), None)


def finished_trial(record: Record, space: Space) -> FrozenTrial:
    """The iteration as it was committed."""
    attrs: dict[str, Json] = {
        RUN_KEY: record.run_id,
        ITERATION_KEY: record.iteration,
        "purpose": record.purpose,
        "sampler": record.sampler,
        **verdict_attrs(record),
    }
    started, ended = (_local(record.time.get(name)) for name in ("started_at", "finished_at"))
    return _trial(state_of(record), value_of(record), record.params, space, attrs, started, ended)


def state_of(record: Record) -> TrialState:
    return state_and_value(record.status, record.win_rate)[0]


def value_of(record: Record) -> float | None:
    return state_and_value(record.status, record.win_rate)[1]


def state_and_value(status: str, win_rate: Json) -> tuple[TrialState, float | None]:
    """As a trial has them, from a line's fields. People are shown the win rate, whatever samplers are told."""
    value = float(win_rate) if status == Status.COMPLETE and isinstance(win_rate, int | float) else None
    if status == Status.PRUNED:
        return TrialState.PRUNED, value
    return TrialState.COMPLETE if value is not None else TrialState.FAIL, value


def verdict_attrs(record: Record) -> dict[str, Json]:
    """User attributes that are known at the end."""
    return {
        "promoted": record.promoted,
        "reason": record.reason.value,
        "version": record.version,
        "win_rate_ci": None if record.win_rate is None else _interval(record),
    }


def params_of(params: Params, space: Space) -> tuple[dict[str, Scalar], dict[str, BaseDistribution]]:
    """The searched parameters that the present space can show, with their distributions."""
    fitting = {
        item.name: params[item.name]
        for item in space.parameters
        if item.name in params and item.problem(params[item.name]) is None
    }
    placed = on_grid(space, fitting)
    return {name: placed[name] for name in fitting}, {name: distribution(space[name]) for name in fitting}


def note_of(incumbent: Record, latest: Record) -> str:
    """Markdown on a target's incumbent; `incumbent` is the line that made its version, `latest` the target's last."""
    rate = "not measured yet" if latest.best_win_rate is None else f"{100 * latest.best_win_rate:.1f} %"
    lines = [
        f"## {incumbent.target}: {incumbent.version}",
        "",
        f"- from iteration {incumbent.iteration} ({incumbent.sampler}, {incumbent.decision.reason.value})",
        f"- win rate {rate} over {latest.pool.games} fresh games, level {latest.level}",
    ]
    decision = incumbent.decision
    if decision.effect is not None:
        lines.append(f"- gain over the version before: {decision.effect:+.3f} per game over {decision.n_pairs} pairs")
    lines += ["", "| parameter | value |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in sorted(incumbent.params.items())]
    return "\n".join(lines) + "\n"


def makes_incumbent(record: Record) -> bool:
    return record.version is not None and (record.promoted or record.decision.reason is Reason.MANUAL_ROLLBACK)


def _trial(
    state: TrialState,
    value: float | None,
    params: Params,
    space: Space,
    attrs: Mapping[str, Json],
    started: datetime | None,
    ended: datetime | None,
) -> FrozenTrial:
    values, known = params_of(params, space)
    return FrozenTrial(
        number=-1,  # the storage numbers it
        trial_id=-1,
        state=state,
        value=value,
        datetime_start=started,
        datetime_complete=ended,
        params=values,
        distributions=known,
        user_attrs=dict(attrs),
        system_attrs={},
        intermediate_values={},
    )


def _interval(record: Record) -> list[Json]:
    """95 % interval of the win rate on the screen, which is what the trial's value was taken from."""
    games = record.wins + record.draws + record.losses
    return [round(limit, 4) for limit in wilson_interval(record.wins + record.draws / 2, games)]


def _local(text: Json) -> datetime | None:
    """Optuna keeps local time without a zone."""
    if not isinstance(text, str):
        return None
    return datetime.fromisoformat(text).astimezone().replace(tzinfo=None)
