"""Simultaneous perturbation stochastic approximation (SPSA) over the unit cube, as pure functions of values.

Trials come in pairs: theta + c * flip and theta - c * flip, played on the same seeds from the same starting weights.
The difference of the two scores moves theta by a * (y_plus - y_minus) / (2 * c) * flip.
Source: J. Spall, Multivariate stochastic approximation using a simultaneous perturbation gradient approximation, IEEE
Transactions on Automatic Control 37(3), 1992; the exponents .602 and .101 are Spall's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from supervisor.contract import Params
from supervisor.search.space import CATEGORICAL, INT, Parameter, Space
from supervisor.seeds import derive_seed

Unit = Mapping[str, float]
"""A point of the unit cube: a number in [0, 1] for each numeric parameter."""

WIDTH = 0.08  # c of the first pair
WIDTH_EXPONENT = 0.101
GAIN = 0.035  # a of the first pair
GAIN_EXPONENT = 0.602
GAIN_STABILITY = 50
AVERAGE_SHARE = 0.03  # share of the newest theta in the average, once 1 / share steps were made
DIGITS = 10  # decimals kept of a place in the unit interval, the same on every libm
OVER_THE_EDGE = 1.02  # how far beyond the edge of a coarse grid's cell a side is placed
PLUS, MINUS = "+", "-"


@dataclass(frozen=True)
class Note:
    """What a log line remembers of one side of a pair: the fold needs nothing else of it but the score.

    `epoch` is the iteration at which theta was last set to the incumbent (0: it started at the default); a note with
    `after` opens its epoch and says which one it replaces. `wide` holds the parameters whose grid is coarser than c.
    """

    pair: int  # from 1
    side: str  # + first, then -
    trial: int  # SPSA trials of the target proposed before this one
    seeds: int  # iteration whose seeds both sides use
    start: str | None  # version whose weights both sides start from
    theta: Unit
    flips: str  # + or - for each parameter, in order of name
    c: float
    a: float
    space: str  # digest of the numeric parameters
    epoch: int = 0
    after: int | None = None
    wide: Unit = field(default_factory=dict)


@dataclass(frozen=True)
class Draw:
    """What a new pair takes from outside: its iteration, the version it starts from, the seed of its flips."""

    iteration: int
    start: str | None
    seed: int


@dataclass(frozen=True)
class Half:
    """The first side of a pair, complete, waiting for the second."""

    note: Note
    rate: float  # win rate on the screen games
    level: int
    params: Params


@dataclass(frozen=True)
class Position:
    """Where the search stands: a fold of the notes. theta is None until a note names it."""

    theta: Unit | None = None
    average: Unit | None = None
    steps: int = 0  # made in this epoch
    epoch: int = 0
    space: str = ""
    trials: int = 0
    pairs: int = 0
    open: Half | None = None


def gains(pair: int, widen: float = 1.0) -> tuple[float, float]:
    """(c, a) of a pair, counted from 1. `widen` multiplies c."""
    c = WIDTH * widen / pair**WIDTH_EXPONENT
    a = GAIN * ((1 + GAIN_STABILITY) / (pair + GAIN_STABILITY)) ** GAIN_EXPONENT
    return round(c, DIGITS), round(a, DIGITS)


def numeric(space: Space) -> Space:
    """The parameters SPSA moves; the categorical ones are somebody else's."""
    return Space(tuple(parameter for parameter in space.parameters if parameter.kind != CATEGORICAL))


def to_unit(space: Space, params: Params) -> dict[str, float]:
    """The place of a configuration, over the numeric parameters; what is missing or does not fit is fitted first."""
    fitted = space.fit(params)
    return {item.name: round(item.to_unit(fitted[item.name]), DIGITS) for item in numeric(space).parameters}


def from_unit(space: Space, unit: Unit) -> Params:
    """The values at a place, over the numeric parameters."""
    return {item.name: item.from_unit(unit[item.name]) for item in numeric(space).parameters}


def side(note: Note) -> dict[str, float]:
    """The place this side plays: theta + c * flip or theta - c * flip, clipped."""
    sign = 1 if note.side == PLUS else -1
    return {name: _clip(place + sign * _flip(note, name) * note.wide.get(name, note.c)) for name, place in _items(note)}


def step(theta: Unit, note: Note, difference: float) -> dict[str, float]:
    """theta after a pair whose + side scored `difference` more than its - side."""
    moved = dict(theta)
    for name, _ in _items(note):
        slope = difference / (2 * note.wide.get(name, note.c)) * _flip(note, name)
        moved[name] = _clip(theta[name] + note.a * slope)
    return moved


def plan(
    position: Position, in_flight: Sequence[Note], space: Space, anchor: Unit, draw: Draw, widen: float = 1.0
) -> Note:
    """The next side to play. `space` holds numeric parameters only.

    `in_flight` are the notes proposed and not yet folded, in order of iteration. `anchor` is theta where the position
    has none, or has one of another space.
    """
    ahead = position
    for note in in_flight:
        ahead = _enter(ahead, note)
    digest = space.digest()
    trial = position.trials + len(in_flight)
    pair = max([position.pairs, *(note.pair for note in in_flight)]) + 1
    if ahead.space in ("", digest):
        epoch, after, theta = ahead.epoch, None, ahead.theta
        last = _last(position, in_flight, epoch)
        if last is not None and last.side == PLUS:
            return replace(last, side=MINUS, trial=trial, after=None)
    else:
        epoch, after, theta = draw.iteration, ahead.epoch, None
    theta = anchor if theta is None else theta
    c, a = gains(pair, widen)
    return Note(
        pair=pair,
        side=PLUS,
        trial=trial,
        seeds=draw.iteration,
        start=draw.start,
        theta=dict(theta),
        flips="".join(PLUS if derive_seed(draw.seed, "flip", name, 0) & 1 else MINUS for name in sorted(theta)),
        c=c,
        a=a,
        space=digest,
        epoch=epoch,
        after=after,
        wide=_wide(space, theta, c),
    )


def advance(position: Position, note: Note, rate: float | None, level: int, params: Params) -> Position:
    """The position after one side. `rate` is its win rate on the screen games, None unless it is complete.

    Both sides play the same seeds, so the difference of their rates is a paired difference, and stays one when the
    incumbent changes between them. Sides of different levels are not compared.
    """
    position = _enter(position, note)
    counted = replace(position, trials=position.trials + 1, pairs=max(position.pairs, note.pair))
    if note.epoch != position.epoch or note.space != position.space:
        return counted  # theta was set to the incumbent while this side was in flight
    if note.side == PLUS:
        half = None if rate is None else Half(note=note, rate=rate, level=level, params=dict(params))
        return replace(counted, open=half)
    first = position.open
    counted = replace(counted, open=None)
    if first is None or rate is None or first.note.pair != note.pair or first.level != level:
        return counted
    assert position.theta is not None  # _enter saw to it
    theta = step(position.theta, note, first.rate - rate)
    share = max(AVERAGE_SHARE, 1 / (position.steps + 1))
    average = position.average or theta
    average = {name: round((1 - share) * average[name] + share * theta[name], DIGITS) for name in theta}
    return replace(counted, theta=theta, average=average, steps=position.steps + 1)


def reset(position: Position, iteration: int) -> Position:
    """theta is to be set to the incumbent at the next proposal: somebody changed the incumbent by hand."""
    return replace(position, theta=None, average=None, steps=0, epoch=iteration, open=None)


def _enter(position: Position, note: Note) -> Position:
    """The position in the note's epoch, where the note may open or name it."""
    # nothing folded yet: this is a first trial, or the first that a shortened log still holds
    unknown = position.theta is None and position.trials == 0 and position.epoch == 0
    opens = note.after is not None and note.after == position.epoch
    if note.epoch == position.epoch and position.theta is not None:
        return position
    if note.epoch != position.epoch and not opens and not unknown:
        return position
    return replace(
        position,
        theta=dict(note.theta),
        average=dict(note.theta),
        steps=0,
        epoch=note.epoch,
        space=note.space,
        trials=max(position.trials, note.trial) if unknown else position.trials,
        open=None,
    )


def _last(position: Position, in_flight: Sequence[Note], epoch: int) -> Note | None:
    """The side proposed last in this epoch, if it may still lack its other half."""
    current = [note for note in in_flight if note.epoch == epoch]
    if current:
        return current[-1]
    return position.open.note if position.open is not None and position.epoch == epoch else None


def _wide(space: Space, theta: Unit, c: float) -> dict[str, float]:
    """The reach of each parameter whose grid is so coarse that theta + c and theta - c would be one value."""
    found = {}
    for item in space.parameters:
        reach = round(OVER_THE_EDGE * _edge(item, theta[item.name]), DIGITS)
        if reach > c:
            found[item.name] = reach
    return found


def _edge(parameter: Parameter, unit: float) -> float:
    """The distance in the unit interval to the nearest place that rounds to another value; 0 without a grid."""
    grid = parameter.step or (1 if parameter.kind == INT else None)
    if grid is None:
        return 0.0
    value = float(parameter.from_unit(unit))
    neighbours = [side for side in (-1, 1) if parameter.low <= value + side * grid <= parameter.high]
    return min((abs(parameter.to_unit(value + side * grid / 2) - unit) for side in neighbours), default=0.0)


def _items(note: Note) -> list[tuple[str, float]]:
    return sorted(note.theta.items())


def _flip(note: Note, name: str) -> int:
    return 1 if note.flips[sorted(note.theta).index(name)] == PLUS else -1


def _clip(unit: float) -> float:
    return round(min(max(unit, 0.0), 1.0), DIGITS)
