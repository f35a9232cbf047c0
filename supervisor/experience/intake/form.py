"""What a target's rows look like: how wide a state is, and what an action may be."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

from supervisor.contract import Interface
from supervisor.experience.store import ExperienceStore, Position, Selection

CONTINUOUS = "action"
CHOICES = ("values", "logits", "probabilities")


@dataclass(frozen=True)
class Form:
    """`choices` is how many actions there are to choose from, `controls` how many numbers an action has (0: it is one
    of a few); None is not known, and anything goes."""

    width: int
    choices: int | None = None
    controls: int | None = None


def form_of(interface: Interface) -> Form:
    """Of a model: the numbers of all its inputs; and what it does is the output that tells the server's clients what to
    do, `action`, or what ends with `values`, `logits` or `probabilities`, or the only one."""
    width = sum(_size(shape) for shape in interface.inputs.values())
    outputs = interface.outputs
    if CONTINUOUS in outputs:
        return Form(width, controls=_size(outputs[CONTINUOUS]))
    named = [shape for name, shape in outputs.items() if name.endswith(CHOICES)]
    shape = (named or list(outputs.values()))[0] if named or len(outputs) == 1 else ()
    return Form(width, choices=shape[1], controls=0) if len(shape) == 2 else Form(width)


def _size(shape: tuple[int, ...]) -> int:
    """Numbers in a row; the first dimension is the batch."""
    return math.prod(shape[1:])


class Forms:
    """Of all targets. A loaded model decides; without one the newest row in the store does, and before there is any the
    first that comes."""

    def __init__(self, targets: Collection[str], loaded: Callable[[str], Form | None]) -> None:
        """`targets` are known whether or not a model of theirs is loaded."""
        self._targets, self._loaded = frozenset(targets), loaded
        self._seen: dict[str, Form] = {}

    def of(self, target: str, width: int, controls: int) -> Form | None:
        """None of a target that is not known. `width` and `controls` are those of the first row that comes."""
        loaded = self._loaded(target)
        if loaded is not None:
            return loaded
        if target not in self._targets:
            return None
        if width < 1:  # nobody learns from a row without a state
            return self._seen.get(target, Form(1))
        return self._seen.setdefault(target, Form(width, controls=controls))

    def look(self, store: ExperienceStore) -> None:
        """Take over from the store what is not known otherwise. Raises StoreDownError."""
        for target in self._targets:
            if target in self._seen or self._loaded(target) is not None:
                continue
            newest = store.newest(Selection(target))
            if newest is None:
                continue
            before = Position(newest.txid, newest.id - 1)
            for page in store.stream(Selection(target), before, newest, batch_rows=1):
                self._seen[target] = Form(page.rows.width, controls=page.rows.controls.shape[1])
