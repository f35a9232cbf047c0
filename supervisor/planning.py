"""From the state to the next trial: which target, which seeds, which games. Pure; samplers live in search/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from supervisor import agenda
from supervisor.config.settings import Settings
from supervisor.contract import Budget, Json, Params, Scalar, TrialSpec, Version
from supervisor.curriculum import at_level, level_now
from supervisor.execution.device import AUTO
from supervisor.intake import Asked, lesson_in
from supervisor.journal.requests import Action, Request
from supervisor.lesson import CONTINUOUS, Lesson
from supervisor.record import Record
from supervisor.rules import Rules
from supervisor.search.fold import spsa_note
from supervisor.search.observation import Observation
from supervisor.search.policy import InFlight, Proposal, ProposalRequest
from supervisor.search.target import TargetDefinition
from supervisor.seeds import derive_seed
from supervisor.state import State, TargetState

PAIR_PHASES = ("train", "screen")  # shared by both sides of an SPSA pair
OWN_PHASES = ("topup", "duel", "measure", "confirm")
FIRST_TOPUP_GAMES = 50  # for an incumbent that came back without a measured rate


def next_target(state: State, in_flight: Sequence[TrialSpec], definitions: Mapping[str, TargetDefinition]) -> str:
    """The due target, given the committed state and what was picked since."""
    frequencies = {key: definition.frequency for key, definition in definitions.items()}
    current = state.agenda
    for spec in in_flight:
        if spec.frequency is not None:
            current = agenda.picked(current, spec.target, spec.frequency)
    return agenda.due(current, frequencies)


def request_for(
    iteration: int,
    definition: TargetDefinition,
    target: TargetState,
    history: Sequence[Observation],
    in_flight: Sequence[TrialSpec | Record],
    settings: Settings,
) -> ProposalRequest:
    """What the sampler is shown: `target` and `history` after line iteration - W, and `in_flight`, what is later."""
    return ProposalRequest(
        target=definition.key,
        iteration=iteration,
        space=definition.space,
        state=target.search,
        settings=settings,
        fixed=definition.fixed,
        incumbent=target.incumbent,
        history=history,
        in_flight=[InFlight.of(source) for source in in_flight if source.target == definition.key],
    )


def baseline_proposal(definition: TargetDefinition, settings: Settings) -> Proposal:
    """A target's first iteration: its default configuration."""
    return Proposal(
        sampler="baseline",
        purpose="baseline",
        params=definition.defaults(),
        changed=(),
        games=settings.run.baseline_games,
    )


def enqueued_proposal(
    request: Request, target: TargetState, definition: TargetDefinition, settings: Settings
) -> Proposal:
    """The wished values over the incumbent's configuration, or over the default."""
    base = base_params(target, definition)
    wished = {name: value for name, value in request.params.items() if isinstance(value, Scalar)}
    return Proposal(
        sampler="enqueued",
        purpose="enqueued",
        params={**base, **wished},
        changed=tuple(sorted(name for name, value in wished.items() if base.get(name) != value)),
        games=settings.games_of(settings.search.sampler),
    )


def asked_proposal(asked: Asked, target: TargetState, definition: TargetDefinition, settings: Settings) -> Proposal:
    """What somebody outside decided."""
    if isinstance(asked, Lesson):
        return lesson_proposal(target, definition, settings)
    if isinstance(asked, Request) and asked.action is Action.ENQUEUE:
        return enqueued_proposal(asked, target, definition, settings)
    return manual_proposal(target, definition)


def lesson_proposal(target: TargetState, definition: TargetDefinition, settings: Settings) -> Proposal:
    """The incumbent's configuration, whose network goes on from what was played."""
    return Proposal(
        sampler=CONTINUOUS,
        purpose=CONTINUOUS,
        params=base_params(target, definition),
        changed=(),
        games=settings.games_of(settings.search.sampler),
    )


def manual_proposal(target: TargetState, definition: TargetDefinition) -> Proposal:
    """An operator's promotion or rollback, or a rollback of the server's: nothing is trained or played."""
    return Proposal(sampler="manual", purpose="manual", params=base_params(target, definition), changed=(), games=0)


def base_params(target: TargetState, definition: TargetDefinition) -> Params:
    """The incumbent's configuration as it fits the space today, else the default."""
    if target.incumbent is None:
        return definition.defaults()
    return definition.complete(target.incumbent.params)


def spec_for(
    run_id: str,
    iteration: int,
    definition: TargetDefinition,
    proposal: Proposal,
    target: TargetState,
    settings: Settings,
    facts: Sequence[Mapping[str, Json]],
    versions: Mapping[str, str],
    device: str = AUTO,
) -> TrialSpec:
    """Everything the trial process is told. `target` is the state the proposal was made from."""
    level = level_of(proposal, definition, target)
    target = at_level(target, level)
    lesson = lesson_in(facts)
    pair_iteration = proposal.seed_iteration if proposal.seed_iteration is not None else iteration
    return TrialSpec(
        run_id=run_id,
        iteration=iteration,
        target=definition.key,
        kind=definition.kind,
        purpose=proposal.purpose,
        sampler=proposal.sampler,
        params=proposal.params,
        level=level,
        scale=settings.run.scale,
        budget=_budget(settings, definition),
        games=proposal.games,
        seeds=_seeds(settings.run.seed, definition.key, iteration, pair_iteration),
        candidates=proposal.candidates,
        incumbent=target.incumbent,
        start=target.incumbent if lesson is not None else _start_version(proposal, target, settings),
        topup_games=_topup_games(target, settings),
        changed=proposal.changed,
        frequency=None if facts else definition.frequency,
        search=proposal.search,
        settings=definition.settings,
        rules=Rules.of(settings, definition, proposal.sampler).as_json(),
        problems=tuple(definition.problems(proposal.params)) if proposal.purpose == "enqueued" else (),
        versions=versions,
        facts=tuple(facts),
        curves=settings.run.tensorboard,
        lesson=lesson,
        device=device,
    )


def level_of(proposal: Proposal, definition: TargetDefinition, target: TargetState) -> int:
    """Of the opponent. Where nothing is trained it stays what it is."""
    if proposal.purpose == "manual" and target.iterations:
        return target.level
    return level_now(target, definition.level)


def _seeds(run_seed: int, target: str, iteration: int, pair_iteration: int) -> dict[str, int]:
    """The first seed of every phase. Training and screen are those of the pair's first side."""
    shared = {phase: derive_seed(run_seed, phase, target, pair_iteration) for phase in PAIR_PHASES}
    own = {phase: derive_seed(run_seed, phase, target, iteration) for phase in OWN_PHASES}
    return shared | own


def _budget(settings: Settings, definition: TargetDefinition) -> Budget:
    limits = settings.budgets
    return Budget(
        steps=definition.steps,
        wall_s=definition.wall_s,
        ram_mb=limits.ram_mb,
        vram_fraction=limits.vram_fraction,
        gpu_s=limits.gpu_s,
    )


def _topup_games(target: TargetState, settings: Settings) -> int:
    """Fresh games the incumbent plays beside this trial, so that its published rate stays current."""
    if target.incumbent is None:
        return 0
    if target.pool.games == 0:
        return FIRST_TOPUP_GAMES
    due = (target.iterations + 1) % settings.promotion.topup_every == 0
    return settings.promotion.topup_games if due else 0


def _start_version(proposal: Proposal, target: TargetState, settings: Settings) -> Version | None:
    """Whose weights the training starts from; the second side of a pair uses those of the first."""
    if settings.run.start_from == "scratch" or target.incumbent is None:
        return None
    version: Version | None = target.incumbent
    note = spsa_note(proposal.search)
    if note is not None:  # a pair's first side says where both start; nothing there is from scratch
        version = target.versions.get(note.start) if note.start is not None else None
    return version if version is not None and version.weights_sha256 is not None else None
