"""Calibrate a model type's levels: how strong the opponent must be for a search to have something to learn.

    python tools/calibrate_models.py MODEL_TYPE [--archetypes mage,tank] [--guess 1.2] [--measurements FILE]

Per archetype: a default configuration is trained from scratch for its budget at `scale: small`, at the start level (3),
against an opponent of a guessed strength; its file then plays against stronger and weaker ones, and the strength at
which it would win half is where two more are trained. If those win 42 to 58 % there on average, it is the start level's
strength; if not, the strength at which they would win half is the next to try, with two others, or the middle between
the strongest that was too weak and the weakest that was too strong. Level 1 is as strong, or weaker where a default
would win less than 62 % there, or stronger where untrained networks would win more than 20 %: its opponent reacts less
and dithers more, so it is the easier one even so. Levels 4 and 5 are stronger by the same steps as those of
`combat_dqn`. Untrained networks are played as well.

Every training is one line of the measurements file and is never done twice, so a run that was stopped goes on; lines of
another arena (see `trainers.arena.fingerprint`) or of other defaults are passed over. Seeds are derived: on one machine
and library version the script gives the same file each time. An archetype that is done is written to
`trainers/arena/levels/MODEL_TYPE.json` at once. Some committed rows are older than the present rule or were placed by
hand where no strength meets it; `trainers/README.md` names them.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from supervisor.contract import Params
from supervisor.journal import durable
from supervisor.search.definitions import BUILT_IN, load_definitions
from supervisor.search.target import TargetDefinition
from supervisor.seeds import derive_seed
from trainers.arena import levels
from trainers.arena.fingerprint import fingerprint
from trainers.arena.stats import ARCHETYPES
from trainers.catalogue import model_type
from trainers.evaluate import OnnxSession
from trainers.export import onnx_bytes
from trainers.learner import Case, Learner
from trainers.parameters import fields, group

MEASUREMENTS = Path(__file__).with_name("model_calibration.jsonl")

START_LEVEL = 3
GRID = 1.05  # strengths are powers of this
GAMES = 1024  # per strength
REACH = 24  # powers of GRID that a trained network is played away from where it was trained, at most
NETS, NET_GAMES = 16, 128  # untrained networks and their games each
WINDOW = (0.42, 0.58)  # of fresh defaults at the start level
ROUNDS = 6  # of two trainings each
FIRST_LEAST = 0.62  # of a default at level 1
FIRST_FARTHEST = 8  # powers of GRID between level 1 and the start level, at most
UNTRAINED_MOST = 0.2
STEPS_UP = {4: 2, 5: 4}  # powers of GRID


@dataclass(frozen=True)
class Training:
    """A default configuration's training, and how often its file wins by the opponent's strength."""

    model_type: str
    archetype: str
    level: int
    strength: float  # it was trained at
    seed: int  # below 0: that many networks were not trained at all
    arena: str
    making: str
    rates: Mapping[str, float]  # by strength
    seconds: float  # of processor time

    @property
    def here(self) -> float:
        """The win rate at the strength it was trained at."""
        return self.rates[str(self.strength)]

    def half(self) -> float:
        """The strength at which it wins half: between the two measured around it."""
        points = sorted((float(strength), rate) for strength, rate in self.rates.items())
        for (weaker, high), (stronger, low) in pairwise(points):
            if high >= 0.5 > low:
                share = (high - 0.5) / (high - low)
                return math.exp(math.log(weaker) + share * math.log(stronger / weaker))
        return points[0][0] if points[0][1] < 0.5 else points[-1][0]


class Measurements:
    """Trainings on record, and new ones where there are none."""

    def __init__(self, path: Path, name: str, definitions: Mapping[str, TargetDefinition]) -> None:
        self._path, self._name, self._definitions = path, name, definitions
        self.arena = fingerprint()
        self._known: dict[tuple[object, ...], Training] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            found = Training(**json.loads(line))
            self._known[_key(found)] = found

    def training(self, archetype: str, level: int, strength: float, seed: int) -> Training:
        """That training, made now unless it is on record. A seed below 0 means untrained networks."""
        params, steps = self._making(archetype)
        making = durable.sha256_bytes(durable.canonical_json({"params": params, "steps": steps}))[:16]
        strength = round(strength, 3)
        asked = Training(self._name, archetype, level, strength, seed, self.arena[:16], making, {}, 0.0)
        if _key(asked) not in self._known:
            measure = self._untrained if seed < 0 else self._trained
            rates, seconds = measure(Case(archetype, level, group(params, "reward")), params, steps, strength, seed)
            made = Training(**{**asdict(asked), "rates": rates, "seconds": round(seconds, 1)})
            durable.append(self._path, durable.canonical_json(asdict(made)) + b"\n")
            self._known[_key(asked)] = made
            print(
                f"  {archetype} level {level} at {strength}, seed {seed}: {made.here:.3f}, {seconds:.0f} s", flush=True
            )
        return self._known[_key(asked)]

    def _making(self, archetype: str) -> tuple[Params, int]:
        definition = self._definitions[f"{archetype}/{self._name}"]
        return {**definition.space.defaults(), **definition.fixed}, definition.steps

    def _learner(self, case: Case, params: Params, steps: int, seed: int) -> Learner:
        kind = model_type(self._name)
        args = fields(kind.args, kind.names, {name: params[name] for name in params if name not in case.rewards})
        return kind.learner(case, args, steps, seed, None)

    def _trained(
        self, case: Case, params: Params, steps: int, strength: float, seed: int
    ) -> tuple[dict[str, float], float]:
        began = time.process_time()
        with _opponent(self._name, strength):
            learner = self._learner(case, params, steps, derive_seed(seed, "training", case.archetype, case.level))
            while not learner.finished:
                learner.advance()
        seconds = time.process_time() - began
        session = OnnxSession(onnx_bytes(learner.exported()))
        rates = {str(strength): self._rate(case, session, strength, GAMES)}
        harder = rates[str(strength)] >= 0.5
        for power in range(1, REACH):  # toward the strength at which it wins half, and one step past it
            other = round(strength * GRID ** (power if harder else -power), 3)
            rates[str(other)] = self._rate(case, session, other, GAMES)
            if (rates[str(other)] >= 0.5) != harder:
                break
        return rates, seconds

    def _untrained(
        self, case: Case, params: Params, steps: int, strength: float, seed: int
    ) -> tuple[dict[str, float], float]:
        rates = []
        with _opponent(self._name, strength):
            for net in range(NETS):
                session = OnnxSession(onnx_bytes(self._learner(case, params, steps, net).exported()))
                rates.append(self._rate(case, session, strength, NET_GAMES))
        return {str(strength): round(float(np.mean(rates)), 4)}, 0.0

    def _rate(self, case: Case, session: OnnxSession, strength: float, games: int) -> float:
        first = derive_seed(0, "games", case.archetype, case.level)
        with _opponent(self._name, strength):
            return round(float(np.mean(model_type(self._name).player(case, session).play(first, games))), 4)


def _key(training: Training) -> tuple[object, ...]:
    t = training
    return t.model_type, t.archetype, t.level, t.strength, t.seed, t.arena, t.making


@contextmanager
def _opponent(name: str, strength: float) -> Iterator[None]:
    """Within, every level of the model type has that strength."""
    flat = levels.Calibration(START_LEVEL, (strength,) * levels.LEVELS, {})
    known = levels.calibrations

    def calibrations(model_type: str = levels.COMBAT) -> Mapping[str, levels.Calibration]:
        return dict.fromkeys(ARCHETYPES, flat) if model_type == name else known(model_type)

    with mock.patch.object(levels, "calibrations", calibrations):
        yield


def start_strength(seen: Measurements, archetype: str, guess: float) -> tuple[float, list[Training]]:
    """Where defaults win half at the start level, and the fresh trainings that say so."""
    strength = seen.training(archetype, START_LEVEL, guess, 1).half()
    easy, hard = 0.0, math.inf
    for turn in range(ROUNDS):
        fresh = [seen.training(archetype, START_LEVEL, strength, seed) for seed in (2 + 2 * turn, 3 + 2 * turn)]
        rate = np.mean([training.here for training in fresh])
        if WINDOW[0] <= rate <= WINDOW[1]:
            return round(strength, 3), fresh
        easy, hard = (max(easy, strength), hard) if rate > WINDOW[1] else (easy, min(hard, strength))
        strength = math.exp(float(np.mean([math.log(training.half()) for training in fresh])))
        if not easy < strength < hard:  # a training against another opponent is another training
            bounded = easy > 0 and hard < math.inf
            strength = math.sqrt(easy * hard) if bounded else (easy * GRID or hard / GRID)
    raise RuntimeError(f"{archetype}: no strength brings fresh defaults into {WINDOW}; see the measurements")


def first_level(seen: Measurements, archetype: str, start: float) -> tuple[float, Training, Training]:
    """The strength at level 1, a default's training there and the untrained networks."""
    power = 0
    while abs(power) <= FIRST_FARTHEST:
        first = round(start * GRID**power, 3)
        default, untrained = (seen.training(archetype, 1, first, seed) for seed in (1, -NETS))
        if default.here < FIRST_LEAST and power <= 0:
            power -= 1
        elif untrained.here > UNTRAINED_MOST and default.here >= FIRST_LEAST and power >= 0:
            power += 1
        else:
            break
    if default.here < FIRST_LEAST or untrained.here > UNTRAINED_MOST:
        raise RuntimeError(f"{archetype}: at level 1 the default wins {default.here}, untrained {untrained.here}")
    return first, default, untrained


def calibrate(seen: Measurements, archetype: str, guess: float) -> levels.Calibration:
    """The levels of one archetype, and the rates that say how good they are."""
    start, fresh = start_strength(seen, archetype, guess)
    first, default, untrained = first_level(seen, archetype, start)
    second = round(math.sqrt(first * start), 3)
    measured = {
        "untrained_level_1": untrained.here,
        "default_level_1": default.here,
        "untrained_start": seen.training(archetype, START_LEVEL, start, -NETS).here,
        "default_start": float(np.mean([training.here for training in fresh])),
        "training_s": float(np.mean([training.seconds for training in fresh])),
    }
    stronger = [round(start * GRID**power, 3) for _, power in sorted(STEPS_UP.items())]
    rounded = {name: round(value, 3) for name, value in measured.items()}
    return levels.Calibration(START_LEVEL, (first, second, start, *stronger), rounded)


def write(name: str, arena: str, archetype: str, found: levels.Calibration) -> None:
    """Put one archetype's row into the model type's file, beside the others that are there."""
    path = levels.file_of(name)
    rows = json.loads(path.read_text(encoding="utf-8"))["archetypes"] if path.exists() else {}
    rows[archetype] = asdict(found)
    text = json.dumps({"fingerprint": arena, "archetypes": rows}, indent=2, sort_keys=True)
    durable.write_atomic(path, text.encode() + b"\n")


def interval(rate: float, games: int) -> str:
    """Wilson's 95 % interval."""
    z = 1.96
    middle, width = rate + z * z / (2 * games), z * math.sqrt(rate * (1 - rate) / games + z * z / (4 * games**2))
    low, high = ((middle + sign * width) / (1 + z * z / games) for sign in (-1, 1))
    return f"{rate:.3f} [{low:.3f}, {high:.3f}]"


def row(archetype: str, found: levels.Calibration) -> str:
    strengths = " ".join(f"{strength:.3f}" for strength in found.strength)
    games = {"untrained": NETS * NET_GAMES, "default_level_1": GAMES, "default_start": 2 * GAMES}
    rates = ", ".join(
        f"{name} {interval(found.measured[name], games.get(name, games['untrained']))}"
        for name in ("untrained_level_1", "default_level_1", "untrained_start", "default_start")
    )
    return f"{archetype:11} {strengths}  {rates}  {found.measured['training_s']:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_type")
    parser.add_argument("--archetypes", default=",".join(sorted(ARCHETYPES)), help="comma separated; default all")
    parser.add_argument(
        "--guess", type=float, help="a strength to begin with; default: combat_dqn's at the start level"
    )
    parser.add_argument("--measurements", type=Path, default=MEASUREMENTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    name = options.model_type
    seen = Measurements(options.measurements, name, load_definitions([BUILT_IN], [f"*/{name}"], "small"))
    for archetype in options.archetypes.split(","):
        found = calibrate(seen, archetype, options.guess or levels.strength(archetype, START_LEVEL))
        write(name, seen.arena, archetype, found)
        print(row(archetype, found), flush=True)


if __name__ == "__main__":
    main()
