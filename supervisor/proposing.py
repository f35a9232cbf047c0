"""What the next trial is: which target is due, or what was asked for, and everything its process is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from supervisor.contract import Json, TrialSpec
from supervisor.history import Lazily
from supervisor.intake import Asked, fact_of, needs_training
from supervisor.lesson import BEGUN_IN
from supervisor.lessons import Lessons
from supervisor.memory import Memory
from supervisor.parts import Parts
from supervisor.planning import asked_proposal, baseline_proposal, next_target, request_for, spec_for
from supervisor.record import Record


class Planner:
    """Makes specifications; writes nothing."""

    def __init__(self, parts: Parts, memory: Memory, lessons: Lessons | None) -> None:
        self._parts = parts
        self._memory = memory
        self._lessons = lessons

    def asked(self, iteration: int, wish: Asked | None, in_flight: Sequence[TrialSpec]) -> Asked | None:
        """What the iteration is for, unless it is the search's: a wish, or a lesson that waits. A target's first
        iteration is its default configuration, whatever is wished."""
        if wish is not None and not needs_training(wish):
            return wish
        seen = self._memory.state_for(iteration)
        if wish is not None:
            target = seen.target(str(wish.target))
            return wish if target.incumbent is not None or target.iterations > 0 else None
        return self._lessons.next(self._memory.state, seen, in_flight) if self._lessons is not None else None

    def target_due(self, in_flight: Sequence[TrialSpec]) -> str | None:
        """The target whose turn it is; None where nothing is searched and every target has its first iteration."""
        definitions = self._parts.definitions
        if self._lessons is not None and not self._lessons.searches:
            begun = {spec.target for spec in in_flight} | {
                key for key, target in self._memory.state.targets.items() if target.iterations > 0
            }
            definitions = {key: definition for key, definition in definitions.items() if key not in begun}
        return next_target(self._memory.state, in_flight, definitions) if definitions else None

    def plan(
        self,
        iteration: int,
        key: str,
        asked: Asked | None,
        in_flight: Sequence[TrialSpec],
        fact: dict[str, Json] | None = None,
    ) -> TrialSpec:
        """`fact` is that of what was asked where it stands already."""
        parts, memory = self._parts, self._memory
        seen = memory.state_for(iteration)
        definition = parts.definitions[key]
        target = seen.target(definition.key)
        unseen: list[TrialSpec | Record] = [*memory.unseen_by(iteration), *in_flight]
        facts: list[dict[str, Json]] = []
        if asked is not None:
            facts = [fact or fact_of(asked)]
            proposal = asked_proposal(asked, target, definition, parts.settings)
            if isinstance(begun_in := facts[0].get(BEGUN_IN), int):
                proposal = replace(proposal, seed_iteration=begun_in)
        elif target.iterations == 0 and not any(source.target == definition.key for source in unseen):
            proposal = baseline_proposal(definition, parts.settings)
        else:
            history = Lazily(partial(memory.history_for, iteration, definition.key))
            proposal = parts.proposer.propose(
                request_for(iteration, definition, target, history, unseen, parts.settings)
            )
        return spec_for(
            parts.identity.run_id,
            iteration,
            definition,
            proposal,
            target,
            parts.settings,
            facts,
            parts.versions,
            parts.device_of(definition),
        )
