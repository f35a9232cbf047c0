"""Light cycles: two riders leave trails on a small board and must not run into one; who crashes first loses.

One rider weighs its moves by the weights of a YAML file, the other by fixed ones with some chance. Everything in a game
follows from its seed. The answer is one JSON object on stdout. The board is a bit set in one integer, so that flooding
it is a few shifts: about a millisecond per game.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping

import yaml

OPPONENT = {"territory": 1.0, "room": 0.1, "hug": 0.3, "centre": 0.0, "straight": 0.1, "chase": 0.0}
FLOOD_STEPS = 14


class Board:
    """Cells are bits, row by row, with a wall of one cell around."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.width = size + 2
        self.free = sum(1 << self.cell(x, y) for x in range(size) for y in range(size))
        self.steps = (1, self.width, -1, -self.width)  # right, down, left, up

    def cell(self, x: int, y: int) -> int:
        return (y + 1) * self.width + x + 1

    def grown(self, cells: int) -> int:
        """The cells and their neighbours."""
        return cells | cells << 1 | cells >> 1 | cells << self.width | cells >> self.width

    def nearness(self, a: int, b: int) -> float:
        """1 on the same cell, 0 in the farthest corner."""
        ya, xa = divmod(a, self.width)
        yb, xb = divmod(b, self.width)
        return 1 - (abs(xa - xb) + abs(ya - yb)) / (2 * self.size)


def territory(board: Board, free: int, mine: int, theirs: int) -> tuple[int, int]:
    """How many cells each rider reaches first when both flood the board step by step."""
    ours, others = 1 << mine, 1 << theirs
    for _ in range(FLOOD_STEPS):
        next_ours = board.grown(ours) & free & ~others
        next_others = board.grown(others) & free & ~ours
        clash = next_ours & next_others
        free &= ~clash
        next_ours, next_others = ours | (next_ours & ~clash), others | (next_others & ~clash)
        if next_ours == ours and next_others == others:
            break
        ours, others = next_ours, next_others
    return ours.bit_count() - 1, others.bit_count() - 1


def opinion(board: Board, free: int, cell: int, other: int, straight: bool, weights: Mapping[str, float]) -> float:
    """The weighed sum of what speaks for riding to this free cell."""
    left = free & ~(1 << cell)
    mine, theirs = territory(board, left, cell, other)
    walls = sum(not left >> (cell + step) & 1 for step in board.steps)
    middle = board.cell(board.size // 2, board.size // 2)
    return (
        weights["territory"] * (mine - theirs)
        + weights["room"] * mine
        + weights["hug"] * walls
        + weights["centre"] * board.nearness(cell, middle) * board.size
        + weights["straight"] * straight
        + weights["chase"] * board.nearness(cell, other) * board.size
    )


def choose(
    board: Board, free: int, mine: int, other: int, heading: int, weights: Mapping[str, float], noise: list[float]
) -> int:
    """The direction (0 to 3) of the best move; straight ahead into the wall if there is none."""
    best, best_value = heading, float("-inf")
    for turn in (0, 1, 3):
        direction = (heading + turn) % 4
        cell = mine + board.steps[direction]
        if free >> cell & 1:
            value = opinion(board, free, cell, other, turn == 0, weights) + noise[direction]
            if value > best_value:
                best, best_value = direction, value
    return best


def play(seed: int, size: int, weights: Mapping[str, float], opponent_noise: float) -> tuple[float, int]:
    """Score of the rider with these weights (1, 0.5, 0), and how many moves the game had."""
    chance = random.Random(seed)  # noqa: S311 - a game, not a secret
    board = Board(size)
    x, y = chance.randrange(size // 2 - 1), chance.randrange(size)
    mine, theirs = board.cell(x, y), board.cell(size - 1 - x, size - 1 - y)  # the same place, turned by half a circle
    headings = [0, 2]
    free = board.free & ~(1 << mine) & ~(1 << theirs)
    quiet = [0.0] * 4
    for moves in range(1, size * size):
        noise = [chance.uniform(0, opponent_noise) * size for _ in range(4)]
        headings = [
            choose(board, free, mine, theirs, headings[0], weights, quiet),
            choose(board, free, theirs, mine, headings[1], OPPONENT, noise),
        ]
        mine, theirs = mine + board.steps[headings[0]], theirs + board.steps[headings[1]]
        alive, other_alive = bool(free >> mine & 1), bool(free >> theirs & 1)
        if mine == theirs or not (alive or other_alive):
            return 0.5, moves
        if not (alive and other_alive):
            return float(alive), moves
        free &= ~(1 << mine) & ~(1 << theirs)
    raise AssertionError("the board is full before this")


def main() -> None:
    parser = argparse.ArgumentParser(description="Play games of light cycles and print their scores as JSON.")
    parser.add_argument("--config", default="weights.yaml")
    parser.add_argument("--games", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    with open(options.config, encoding="utf-8") as stream:
        config = yaml.safe_load(stream)
    games = [
        play(options.seed + number, config["board"]["size"], config["weights"], config["opponent"]["noise"])
        for number in range(options.games)
    ]
    length = sum(moves for _, moves in games) / len(games)
    print(json.dumps({"games": [score for score, _ in games], "game_length": length}))


if __name__ == "__main__":
    main()
