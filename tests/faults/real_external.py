"""kill -9 while trials edit a user's own file in place: the file is the user's again, or holds the promoted values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import yaml

from supervisor.external.in_place import ORIGINAL_NAME, claim_folder
from supervisor.journal.log import LOG_NAME, read_log
from tests.faults.cell import TIER_B, Cell, PromiseBrokenError
from tests.faults.real_stage import alone_on
from tests.faults.real_work import LIMIT_S, SHORT, Work, assert_undisturbed, reference

PROMISE = "the user's file is byte for byte as it was, or holds the promoted values with its comments"
FILE = """\
# Written by hand; the search may change the numbers and nothing else.
skill: 0.3     # the share of games won
other: 5       # means nothing
"""
VALUE = re.compile(r"^(\w+: *)([^ #]+)", re.MULTILINE)
PROGRAM = """\
import json, random, sys, yaml
games, seed = int(sys.argv[1]), int(sys.argv[2])
skill = yaml.safe_load(open("bot.yaml"))["skill"]
print(json.dumps({"games": [float(random.Random(seed + game).random() < skill) for game in range(games)]}))
"""
SPACE = """\
target: own/bot
kind: command
config_file: ../../program/bot.yaml
evaluate: ["{python}", bot.py, "{games}", "{seed}"]
timeout_s: 60
block_games: 20
parameters:
  skill: {low: 0.0, high: 1.0}
  other: {type: int, low: 1, high: 9}
"""


def lay_program(folder: Path) -> Mapping[str, str]:
    """The user's program and search space, unless they are there."""
    program, spaces = folder / "program", folder / "spaces" / "external"
    if not program.exists():
        program.mkdir()
        spaces.mkdir(parents=True)
        (program / "bot.yaml").write_text(FILE)
        (program / "bot.py").write_text(PROGRAM)
        (spaces / "bot.yaml").write_text(SPACE)
    return {"INCUMBENT_RUN__SEARCH_SPACES": str(folder / "spaces"), "INCUMBENT_PROMOTION__CONTENDERS": "screened"}


AFTER = " after line "
IN_PLACE = Work("in place", iterations=6, targets=("own/bot",), environ=SHORT, prepare=lay_program, served=False)


def assert_users_file(folder: Path) -> None:
    """As it was at first; from a promotion on with its values in the places of the old ones."""
    found = {path.name for path in (folder / "program").iterdir()}
    if found != {"bot.yaml", "bot.py"}:
        raise PromiseBrokenError(f"beside the user's file lie {found}")
    text = (folder / "program" / "bot.yaml").read_text()
    promoted = [record for record in read_log(folder / "run").records if record.promoted]
    wanted = {name: promoted[-1].params[name] for name in ("skill", "other")} if promoted else yaml.safe_load(FILE)
    same_otherwise = VALUE.sub(r"\1", text) == VALUE.sub(r"\1", FILE)
    if yaml.safe_load(text) != wanted or not same_otherwise or (wanted == yaml.safe_load(FILE) and text != FILE):
        raise PromiseBrokenError(f"expected {wanted} and otherwise\n{FILE}found\n{text}")


def check(scratch: Path, point: str, folder: Path) -> int:
    """A kill while the file is edited; a start that has nothing to do, so that only what it puts right is seen; the
    rest of the run."""
    kind, lines = point.split(AFTER)
    log = folder / "run" / LOG_NAME

    def committed() -> int:
        return log.read_bytes().count(b"\n") if log.exists() else 0

    with alone_on(IN_PLACE.stage(folder)) as stage:
        stage.start()
        if not stage.watch(lambda: committed() >= int(lines) and _edited(folder / "program" / "bot.yaml")):
            raise PromiseBrokenError("no trial edited the file")
        dealt = stage.strike(kind)
        if kind not in ("supervisor", "all"):
            stage.watch()
    for iterations in (max(1, committed()), IN_PLACE.iterations):
        with alone_on(IN_PLACE.stage(folder, iterations)) as stage:
            stage.start()
            stage.watch()
        assert_users_file(folder)
    assert_undisturbed(reference(IN_PLACE, scratch), stage)
    return min(dealt, 1)


def _edited(path: Path) -> bool:
    """Whether a trial's values are in the file now."""
    original = claim_folder(path) / ORIGINAL_NAME
    try:
        return original.read_bytes() != path.read_bytes()
    except FileNotFoundError:  # nobody holds it
        return False


def points(scratch: Path) -> Sequence[str]:
    reference(IN_PLACE, scratch)  # here, for all points
    kinds = ("all", "supervisor", "fork server", "trial")
    return [f"{kind}{AFTER}{lines}" for lines, kind in zip((1, 2, 3, 4, 5, 4, 3, 2), kinds * 2, strict=True)]


def cells(scratch: Path) -> list[Cell]:
    return [
        Cell(
            "real: user's file",
            TIER_B,
            PROMISE,
            lambda folder: points(scratch),
            partial(check, scratch),
            limit_s=LIMIT_S,
        )
    ]
