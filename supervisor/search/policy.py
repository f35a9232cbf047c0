"""From a request to a proposal: which sampler acts, with what history, on whose seeds. Depends on the request alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from supervisor.config.settings import Settings
from supervisor.contract import Json, Params, TrialSpec, Version, as_json
from supervisor.record import Record
from supervisor.search import spsa
from supervisor.search.fold import CONFIRMED_AT_KEY, DELTA, OBJECTIVE_KEY, SPSA_KEY, WIN_RATE, SearchState, spsa_note
from supervisor.search.observation import GENERATION_KEY, Observation
from supervisor.search.samplers.gp import GpProcess
from supervisor.search.samplers.make import Recipe
from supervisor.search.schedule import CONFIRMATION_CANDIDATES, Stagnation, confirmation_due, stagnation
from supervisor.search.space import CATEGORICAL, Space
from supervisor.search.study import Draw, Studies
from supervisor.seeds import derive_seed

SPSA = "spsa"


@dataclass(frozen=True)
class InFlight:
    """An iteration between the lines a proposal sees and the proposal itself: what its trial was told."""

    iteration: int
    purpose: str
    params: Params
    search: Mapping[str, Json]

    @classmethod
    def of(cls, source: TrialSpec | Record) -> InFlight:
        """From the specification, or from the line where it is committed already: both carry the same."""
        return cls(source.iteration, source.purpose, source.params, source.search)


@dataclass(frozen=True)
class ProposalRequest:
    """All that a proposal depends on.

    `history`, `state` and `incumbent` are those after line iteration - W: `history` the target's lines, as far as the
    log still holds them. `in_flight` are the target's iterations after that line and before this one, in order, whether
    or not they are committed by now: what has ended meanwhile must not show.
    """

    target: str
    iteration: int
    space: Space
    state: SearchState
    settings: Settings
    fixed: Params = field(default_factory=dict)
    incumbent: Version | None = None
    history: Sequence[Observation] = ()
    in_flight: Sequence[InFlight] = ()

    @property
    def objective(self) -> str:
        return DELTA if self.settings.run.start_from == "incumbent" else WIN_RATE

    @property
    def base(self) -> Params:
        """The incumbent's parameters as they fit the space, else the defaults."""
        return self.space.fit(self.incumbent.params) if self.incumbent else self.space.defaults()


@dataclass(frozen=True)
class Proposal:
    """What to try next. `params` are complete; `candidates` are a confirmation's, `params` the first of them."""

    sampler: str
    purpose: str
    params: Params
    changed: tuple[str, ...]
    games: int
    candidates: tuple[Params, ...] = ()
    search: Mapping[str, Json] = field(default_factory=dict)
    seed_iteration: int | None = None  # whose seeds to train and screen on; None is this iteration's own
    start_version: str | None = None  # whose weights to start from; None is the incumbent's


class Proposer:
    """Proposes. It remembers only what can be made again from the request: what it proposed before leaves no trace.

    `meanwhile` is called about once a second while a proposal takes long; what it raises ends the proposal.
    """

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self._studies = Studies(GpProcess(meanwhile))

    def propose(self, request: ProposalRequest) -> Proposal:
        return propose(request, self._studies)

    def close(self) -> None:
        """End the helper process that `gp` proposes in, if there is one."""
        self._studies.close()


def propose(request: ProposalRequest, studies: Studies) -> Proposal:
    """The proposal for the request; `studies` only saves work."""
    acting = stagnation_of(request)
    if acting.sampler == SPSA:
        return _confirmation(request, acting) or _side(request, acting, studies)
    drawn = studies.draw(_draw(request, acting))
    search = _search(request, acting)
    if drawn.generation is not None:
        search[GENERATION_KEY] = drawn.generation
    return _proposal(request, acting.sampler, drawn.params, search)


def stagnation_of(request: ProposalRequest) -> Stagnation:
    """What the target's iterations without promotion have led to; its `event` is for the operator."""
    search = request.settings.search
    since = request.state.since_promotion
    return stagnation(request.target, since, search.sampler, search.on_stagnation, search.stagnation_iterations)


def _side(request: ProposalRequest, acting: Stagnation, studies: Studies) -> Proposal:
    """One side of an SPSA pair. Both have the categorical values that were drawn for the first."""
    note = _note(request, acting)
    kept = _first_half(request, note) if note.side == spsa.MINUS else None
    drawn = studies.draw(_draw(request, acting, note=note, kept=kept))
    search = {**_search(request, acting), SPSA_KEY: as_json(note)}
    return _proposal(request, SPSA, drawn.params, search, seed_iteration=note.seeds, start_version=note.start)


def _note(request: ProposalRequest, acting: Stagnation) -> spsa.Note:
    position = request.state.spsa
    numeric = spsa.numeric(request.space)
    at_default = position.epoch == 0 and position.space in ("", numeric.digest())
    anchor = spsa.to_unit(request.space, request.space.defaults() if at_default else request.base)
    seed = derive_seed(request.settings.run.seed, SPSA, request.target, request.iteration)
    draw = spsa.Draw(request.iteration, request.incumbent.name if request.incumbent else None, seed)
    return spsa.plan(position, _notes(request), numeric, anchor, draw, widen=acting.widen)


def _notes(request: ProposalRequest) -> list[spsa.Note]:
    found = [spsa_note(flight.search) for flight in request.in_flight if flight.purpose == "search"]
    return [note for note in found if note is not None]


def _first_half(request: ProposalRequest, note: spsa.Note) -> Params:
    """The categorical values of the pair's first side."""
    params = request.state.spsa.open.params if request.state.spsa.open else {}
    for flight in request.in_flight:
        if flight.iteration == note.seeds:
            params = flight.params
    fitted = request.space.fit(params)
    return {item.name: fitted[item.name] for item in request.space.parameters if item.kind == CATEGORICAL}


def _confirmation(request: ProposalRequest, acting: Stagnation) -> Proposal | None:
    """The confirmation that is due, between two pairs; None where none is, or where there is nothing to choose from."""
    state = request.state
    if not confirmation_due(state.spsa.trials, state.confirmed_at):
        return None
    if any(flight.purpose == "confirmation" for flight in request.in_flight):
        return None
    note = _note(request, acting)
    if note.side == spsa.MINUS:
        return None
    base = {**request.base, **request.fixed}
    centres = [
        centre for centre in (note.theta, state.spsa.average) if centre is not None and set(centre) == set(note.theta)
    ]
    found: list[Params] = [{**base, **spsa.from_unit(request.space, centre)} for centre in centres]
    found += [{**request.space.fit(seen.params), **request.fixed} for seen in state.best]
    candidates = [params for number, params in enumerate(found) if params not in found[:number]]
    if len(candidates) < 2:
        return None
    search = {**_search(request, acting), CONFIRMED_AT_KEY: state.spsa.trials}
    proposal = _proposal(request, SPSA, candidates[0], search, purpose="confirmation")
    return replace(proposal, candidates=tuple(candidates[:CONFIRMATION_CANDIDATES]))


def _draw(
    request: ProposalRequest, acting: Stagnation, note: spsa.Note | None = None, kept: Params | None = None
) -> Draw:
    run_seed = request.settings.run.seed
    recipe = Recipe(
        name=acting.sampler,
        space=request.space,
        seed=derive_seed(run_seed, "propose", request.target, request.iteration),
        target_seed=derive_seed(run_seed, "propose", request.target, 0),
        index=request.state.iterations + len(request.in_flight),
        base=request.base,
        magnitude=request.settings.search.magnitude * acting.widen,
        note=note,
        kept=kept,
    )
    return Draw(recipe, request.target, request.objective, request.history)


def _search(request: ProposalRequest, acting: Stagnation) -> dict[str, Json]:
    return {OBJECTIVE_KEY: request.objective, "stagnation": acting.level}


def _proposal(
    request: ProposalRequest,
    sampler: str,
    values: Params,
    search: Mapping[str, Json],
    purpose: str = "search",
    seed_iteration: int | None = None,
    start_version: str | None = None,
) -> Proposal:
    params = {**values, **request.fixed}
    return Proposal(
        sampler=sampler,
        purpose=purpose,
        params=params,
        changed=tuple(sorted(name for name, value in request.base.items() if params.get(name) != value)),
        games=request.settings.games_of(sampler),
        search=search,
        seed_iteration=seed_iteration,
        start_version=start_version,
    )
