"""Log lines and search requests for tests, with the values that a test cares about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from supervisor.config.settings import RunSettings, SearchSettings, Settings
from supervisor.contract import Decision, Outcome, Params, Reason, Status, Version
from supervisor.record import Record
from supervisor.search.fold import SearchState, advance
from supervisor.search.observation import Observation
from supervisor.search.policy import InFlight, Proposal, ProposalRequest
from supervisor.search.space import Parameter, Space

TARGET = "aggressive/combat_dqn"


def line(iteration: int, params: Params, rate: float | None = None, **changes: Any) -> Record:
    """A search line that changed nothing. `rate` is the win rate on 100 screen games; None makes a crashed trial."""
    complete = rate is not None
    fields: dict[str, Any] = {
        "run_id": "run-1",
        "iteration": iteration,
        "target": TARGET,
        "archetype": "aggressive",
        "model_type": "combat_dqn",
        "study": TARGET,
        "trial": iteration - 1,
        "sampler": "spsa",
        "purpose": "search",
        "seed": iteration,
        "level": 0,
        "params": dict(params),
        "changed": (),
        "status": Status.COMPLETE if complete else Status.FAILED,
        "reason": Reason.BELOW_SCREEN if complete else Reason.CRASHED,
        "games": 200,
        "wins": round(100 * rate) if rate is not None else 0,
        "draws": 0,
        "losses": 100 - round(100 * rate) if rate is not None else 0,
        "win_rate": rate,
        "best_win_rate": 0.5,
        "improvement": 0.0,
        "delta": rate - 0.5 if rate is not None else None,
        "promoted": False,
        "version": None,
        "model_sha256": None,
        "weights_sha256": None,
        "steps": 1000,
        "decision": Decision("none", Outcome.REJECT, Reason.BELOW_SCREEN if complete else Reason.CRASHED),
    }
    return Record(**{**fields, **changes})


def line_of(iteration: int, proposal: Proposal, rate: float | None, **changes: Any) -> Record:
    """The line of a proposal's trial."""
    told: dict[str, Any] = {
        "sampler": proposal.sampler,
        "purpose": proposal.purpose,
        "changed": proposal.changed,
        "search": proposal.search,
        "start": proposal.start_version,
    }
    return line(iteration, proposal.params, rate, **{**told, **changes})


def flight_of(iteration: int, proposal: Proposal) -> InFlight:
    return InFlight(iteration, proposal.purpose, proposal.params, proposal.search)


def folded(records: Sequence[Record]) -> SearchState:
    state = SearchState()
    for record in records:
        state = advance(state, record)
    return state


def settings(sampler: str = "spsa", seed: int = 7, start_from: str = "incumbent", **search: Any) -> Settings:
    return Settings(
        run=RunSettings.model_validate({"seed": seed, "start_from": start_from}),
        search=SearchSettings.model_validate({"sampler": sampler, **search}),
    )


def floats(count: int) -> Space:
    return Space(tuple(Parameter(f"x{i:02d}", "float", 0.5, low=0.0, high=1.0) for i in range(count)))


def mixed_space() -> Space:
    """A parameter of each kind."""
    return Space(
        (
            Parameter("batch", "int", 64, low=16, high=256, log=True),
            Parameter("dropout", "float", 0.1, low=0.0, high=0.5, step=0.05),
            Parameter("dueling", "categorical", True, choices=(True, False)),
            Parameter("layers", "int", 2, low=1, high=4),
            Parameter("lr", "float", 1e-3, low=1e-5, high=1e-2, log=True),
            Parameter("optimizer", "categorical", "adam", choices=("adam", "sgd", "lion")),
            Parameter("reward.kills", "float", 1.0, low=-2.0, high=4.0),
            Parameter("steps", "int", 40, low=10, high=100, step=10),
        )
    )


def version(iteration: int, params: Params) -> Version:
    return Version(name=f"v{iteration:06d}", iteration=iteration, params=dict(params), model_sha256=f"{iteration:064d}")


def observed(records: Sequence[Record]) -> list[Observation]:
    return [Observation.of(record) for record in records]


def request(
    iteration: int,
    space: Space,
    records: Sequence[Record] = (),
    in_flight: Sequence[InFlight] = (),
    incumbent: Version | None = None,
    fixed: Mapping[str, Any] | None = None,
    config: Settings | None = None,
) -> ProposalRequest:
    """A request over these lines, their state folded from them."""
    return ProposalRequest(
        target=TARGET,
        iteration=iteration,
        space=space,
        state=folded(records),
        settings=config or settings(),
        fixed=fixed or {},
        incumbent=incumbent,
        history=observed(records),
        in_flight=in_flight,
    )
