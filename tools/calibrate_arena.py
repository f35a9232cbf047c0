"""Calibrate the arena's levels: how strong the traditional AI must be for a search to have something to learn.

    python tools/calibrate_arena.py [--archetypes mage,tank] [--measurements FILE]

Per archetype: at the start level (3) a default configuration of `combat_dqn`, trained from scratch for its budget at
`scale: small`, wins 40 to 60 %; at level 1 it wins at least 60 % and untrained networks at most 20 %. Then rewards and
hyperparameters other than the default ones are tried at the start level, to see that they matter.

Every measurement is one line of the measurements file and is never taken twice, so a run that was stopped goes on;
lines of another arena (see `trainers.arena.fingerprint`) or of other defaults are passed over. Seeds are derived: on
one machine and library version the script gives the same file each time. Run on all archetypes it writes
`trainers/arena/levels/combat_dqn.json`, leaves the lines that count in the measurements file, and prints the table.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from supervisor.contract import Params, Scalar
from supervisor.journal import durable
from supervisor.search.definitions import BUILT_IN, load_definitions
from supervisor.search.target import TargetDefinition
from supervisor.seeds import derive_seed
from trainers.algorithms import dqn, dqn_args
from trainers.arena import levels
from trainers.arena.arena import ACTION_COUNT, OBSERVATION_WIDTH, Arena
from trainers.arena.fingerprint import fingerprint
from trainers.arena.games import play_games
from trainers.arena.rewards import effective_weights
from trainers.arena.stats import ARCHETYPES
from trainers.evaluate import ROWS, GreedyPolicy, OnnxSession
from trainers.export import onnx_bytes
from trainers.models.combat_dqn import FIGHTS, INPUT, OUTPUT
from trainers.networks.mlp import QNetwork
from trainers.parameters import fields, group

MEASUREMENTS = Path(__file__).with_name("arena_calibration.jsonl")
LEVELS_FILE = levels.file_of(levels.COMBAT)

START_LEVEL = 3
GRID = 1.05  # strengths are powers of this
GAMES = 768  # per trained network: a standard error of 1.8 points, less than one training differs from the next
NETS, NET_GAMES = 32, 128  # untrained networks and their games each
START_SEEDS = (1, 2, 3, 4, 5, 6)  # of the trainings behind a rate at the start level
FIRST_SEEDS = (1, 2, 3)  # behind one at level 1
VARIANT_SEEDS = (1, 2)
FRESH_SEEDS = (7, 8)  # of trainings that had no say in the choice of a strength
RATE_PER_POWER = 0.08  # about what one step of GRID costs the default; only the way to the result depends on it

START_AIM, START_WINDOW = 0.5, (0.43, 0.57)
FIRST_AIM, FIRST_WINDOW = 0.8, (0.66, 0.94)
UNTRAINED_MOST = 0.15
FIRST_GUESS = {"aggressive": 11, "defensive": 18, "mage": -4, "ranged": 5, "support": -2.5, "tank": 28.5}
"""Exponents of GRID to look at first; any others only take longer."""

VARIANTS: Mapping[str, Mapping[str, Mapping[str, Scalar]]] = {
    "aggressive": {"timid": {"reward.damage_dealt": 0.2, "reward.kills": 0.0, "reward.damage_taken": -1.5}},
    "defensive": {
        "time first": {"reward.damage_blocked": 0.0, "reward.allies_protected": 0.0, "reward.survival_time": 3.0},
        "shield first": {"reward.allies_protected": 60.0, "reward.survival_time": 0.0, "reward.survival_bonus": 0.0},
    },
    "mage": {"distance first": {"reward.spell_damage": 0.5, "reward.kills": 0.0, "reward.optimal_distance": 30.0}},
    "ranged": {"run away": {"reward.sustained_damage": 0.2, "reward.kiting_active": 24.0}},
    "support": {
        "buffs first": {"reward.effective_healing": 0.5, "reward.healing_done": 0.0, "reward.buffs_applied": 45.0}
    },
    "tank": {"aggro first": {"reward.aggro_count": 45.0, "reward.damage_absorbed": 0.0, "reward.survival": 0.0}},
}
"""Reward weights inside the search space that a designer might have chosen; each is tried at the start level."""

FASTER: Mapping[str, Scalar] = {"training.learning_rate": 1e-3}


@dataclass(frozen=True)
class Question:
    """What is measured: how often networks of this making win."""

    archetype: str
    level: int
    power: float  # the foe's strength is GRID ** power
    variant: str  # untrained | default | a name of VARIANTS | faster
    seed: int

    @property
    def strength(self) -> float:
        return float(round(GRID**self.power, 3))


class Measurements:
    """Answers on record, and new ones where there are none."""

    def __init__(self, path: Path, definitions: Mapping[str, TargetDefinition]) -> None:
        self._path, self._definitions = path, definitions
        self._arena = fingerprint()
        self._rates: dict[bytes, float] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            entry = json.loads(line)
            rate = entry.pop("rate")
            entry.pop("power", None)
            self._rates[durable.canonical_json(entry)] = rate
        self._used: dict[bytes, float] = {}

    @property
    def arena(self) -> str:
        return self._arena

    def rate(self, question: Question) -> float:
        """The win rate in question, measured now unless it is on record."""
        params, steps = self._making(question)
        making = durable.sha256_bytes(durable.canonical_json({"params": params, "steps": steps, "fights": FIGHTS}))[:16]
        entry = {
            "archetype": question.archetype,
            "level": question.level,
            "strength": question.strength,
            "variant": question.variant,
            "seed": question.seed,
            "arena": self._arena[:16],
            "making": making,
        }
        key = durable.canonical_json(entry)
        if key not in self._rates:
            nets = range(NETS) if question.variant == "untrained" else [question.seed]
            games = NET_GAMES if question.variant == "untrained" else GAMES
            rates = [_play(_network(question, params, steps, seed), question, games) for seed in nets]
            self._rates[key] = round(float(np.mean(rates)), 4)
            durable.append(self._path, durable.canonical_json({**entry, "rate": self._rates[key]}) + b"\n")
            print(f"  {question} {self._rates[key]:.3f}", flush=True)
        self._used[key] = self._rates[key]
        return self._rates[key]

    def mean(self, archetype: str, level: int, power: float, variant: str, seeds: tuple[int, ...]) -> float:
        return float(np.mean([self.rate(Question(archetype, level, power, variant, seed)) for seed in seeds]))

    def check_variants(self) -> None:
        """Raises ValueError if one of them lies outside its search space: before hours are spent, not after."""
        for archetype, variants in VARIANTS.items():
            for variant in (*variants, "faster"):
                self._making(Question(archetype, START_LEVEL, 0, variant, 0))

    def keep_used(self) -> None:
        """Rewrite the file with the lines that this run needed, in order."""
        lines = [durable.canonical_json({**json.loads(key), "rate": rate}) for key, rate in sorted(self._used.items())]
        durable.write_atomic(self._path, b"\n".join(lines) + b"\n")

    def _making(self, question: Question) -> tuple[Params, int]:
        definition = self._definitions[f"{question.archetype}/combat_dqn"]
        changes = FASTER if question.variant == "faster" else VARIANTS[question.archetype].get(question.variant, {})
        params = {**definition.defaults(), **changes}
        problems = definition.problems(params)
        if problems:
            raise ValueError("; ".join(problems))
        return params, 0 if question.variant == "untrained" else definition.steps


def _network(question: Question, params: Params, steps: int, seed: int) -> QNetwork:
    rewards = group(params, "reward")
    args = fields(dqn_args.Args, dqn_args.NAMES, {name: value for name, value in params.items() if name not in rewards})
    if steps == 0:
        torch.manual_seed(seed)
        return QNetwork(OBSERVATION_WIDTH, args.widths, ACTION_COUNT, args.dueling)
    factors = effective_weights(question.archetype, rewards)
    arena = Arena(FIGHTS, question.archetype, question.level, factors, strength=question.strength)
    first = derive_seed(seed, "calibration training", question.archetype, question.level)
    arena.start(np.arange(first, first + FIGHTS, dtype=np.uint64))
    learner = dqn.DoubleDQN(args, arena, steps, first, OBSERVATION_WIDTH, ACTION_COUNT)
    while not learner.finished:
        learner.advance()
    return learner.q


def _play(network: QNetwork, question: Question, games: int) -> float:
    policy = GreedyPolicy(OnnxSession(onnx_bytes(network.exported())), INPUT, OUTPUT)
    first = derive_seed(0, "calibration games", question.archetype, question.level)
    archetype, level, strength = question.archetype, question.level, question.strength
    scores = play_games(
        lambda: policy, lambda rows: Arena(rows, archetype, level, reopen=False, strength=strength), first, games, ROWS
    )
    return float(scores.mean())


def settle(
    seen: Measurements, archetype: str, level: int, guess: float, aim: float, window: tuple[float, float]
) -> float:
    """The power at which default configurations win about `aim`: steps toward it until the rate is in the window."""
    power = guess
    low, high = -math.inf, math.inf  # powers known to be too easy and too hard
    while low < power < high:
        rate = seen.mean(archetype, level, power, "default", START_SEEDS if level == START_LEVEL else FIRST_SEEDS)
        if window[0] <= rate <= window[1]:
            return power
        low, high = (power, high) if rate > aim else (low, power)
        power += max(-4, min(4, round((rate - aim) / RATE_PER_POWER * 2) / 2))
        if not low < power < high:
            power = round(low + high) / 2
    raise RuntimeError(f"{archetype} level {level}: no strength brings the default into {window}; see the measurements")


def calibrate(seen: Measurements, archetype: str) -> levels.Calibration:
    """The levels of one archetype, and the rates that say how good they are."""
    start = settle(seen, archetype, START_LEVEL, FIRST_GUESS[archetype], START_AIM, START_WINDOW)
    first = min(start, settle(seen, archetype, 1, start, FIRST_AIM, FIRST_WINDOW))
    while seen.mean(archetype, 1, first, "untrained", (0,)) > UNTRAINED_MOST:
        first += 0.5
    powers = {1: first, 2: (first + start) / 2, 3: start, 4: start + 2, 5: start + 4}
    measured = {
        "untrained_level_1": seen.mean(archetype, 1, first, "untrained", (0,)),
        "default_level_1": seen.mean(archetype, 1, first, "default", FIRST_SEEDS),
        "untrained_start": seen.mean(archetype, START_LEVEL, start, "untrained", (0,)),
        "default_start": seen.mean(archetype, START_LEVEL, start, "default", START_SEEDS),
        "default_start_again": seen.mean(archetype, START_LEVEL, start, "default", FRESH_SEEDS),
    }
    for variant in (*VARIANTS[archetype], "faster"):
        measured[f"{variant} start"] = seen.mean(archetype, START_LEVEL, start, variant, VARIANT_SEEDS)
    strengths = tuple(Question(archetype, level, power, "", 0).strength for level, power in sorted(powers.items()))
    return levels.Calibration(START_LEVEL, strengths, {name: round(rate, 3) for name, rate in measured.items()})


def table(found: Mapping[str, levels.Calibration]) -> str:
    """A line per archetype."""
    names = ("untrained_level_1", "default_level_1", "untrained_start", "default_start", "default_start_again")
    lines = [f"{'archetype':11} {'strengths':33} " + " ".join(f"{name:>19}" for name in names) + "  others at start"]
    for archetype, row in found.items():
        strengths = " ".join(f"{strength:6.3f}" for strength in row.strength)
        rates = " ".join(f"{row.measured[name]:19.3f}" for name in names)
        others = ", ".join(
            f"{name.removesuffix(' start')} {rate:.3f}" for name, rate in row.measured.items() if " " in name
        )
        lines.append(f"{archetype:11} {strengths:33} {rates}  {others}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archetypes", default=",".join(sorted(ARCHETYPES)), help="comma separated; default all")
    parser.add_argument("--measurements", type=Path, default=MEASUREMENTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seen = Measurements(options.measurements, load_definitions([BUILT_IN], ["*/combat_dqn"], "small"))
    seen.check_variants()
    found = {archetype: calibrate(seen, archetype) for archetype in options.archetypes.split(",")}
    print(table(found))
    if set(found) == set(ARCHETYPES):
        rows = {name: vars(row) for name, row in found.items()}
        text = json.dumps({"fingerprint": seen.arena, "archetypes": rows}, indent=2, sort_keys=True)
        durable.write_atomic(LEVELS_FILE, text.encode() + b"\n")
        seen.keep_used()


if __name__ == "__main__":
    main()
