"""Users' programs for tests of command targets: shell scripts, and the trial that calls them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from supervisor.contract import Budget, Params, TrialSpec

CONFIG = """\
# hand-tuned, do not touch
weights:
  aggression: 0.5   # how bold
  caution: 2        # how shy
"""
PARAMS: Params = {"weights.aggression": 0.5, "weights.caution": 2}
OTHER_PARAMS: Params = {"weights.aggression": 0.75, "weights.caution": 3}

PLAYER = """\
# score of a game: a hash of its seed and of the configuration's numbers
digest=$(grep -v '#.*hand' "$CONFIG" | cksum | cut -d' ' -f1)
list=$(awk -v games="$GAMES" -v seed="$SEED" -v digest="$digest" 'BEGIN {
  for (i = 0; i < games; i++) printf "%s%d", i ? "," : "", int(((seed + i) % 100003 * 7919 + digest % 99991) / 7) % 2
}')
"""
ANSWER = 'printf \'{"games":[%s]}\\n\' "$list"\n'
HEAD = 'GAMES=$1 SEED=$2 CONFIG=${3:-config.yaml} OUT=$4\necho "$GAMES $SEED $CONFIG" >> "$(dirname "$0")/calls"\n'


def make_program(folder: Path, body: str = PLAYER + ANSWER) -> Path:
    """`bot.sh` and `config.yaml` in the folder; the script gets games, seed, configuration and answer file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(CONFIG)
    script = folder / "bot.sh"
    script.write_text(HEAD + body)
    return script


def calls(folder: Path) -> list[str]:
    """How the script was called so far, a line each."""
    path = folder / "calls"
    return path.read_text().splitlines() if path.exists() else []


def command_settings(folder: Path, **changes: Any) -> dict[str, Any]:
    """In place unless `evaluate` says otherwise; None removes a key."""
    settings: dict[str, Any] = {
        "config_file": str(folder / "config.yaml"),
        "evaluate": ["/bin/sh", str(folder / "bot.sh"), "{games}", "{seed}"],
        "timeout_s": 30.0,
        "build_timeout_s": 30.0,
        "block_games": 4,
    }
    return {key: value for key, value in {**settings, **changes}.items() if value is not None}


def copied(folder: Path) -> list[str]:
    """An evaluate command that passes the configuration as a copy."""
    return ["/bin/sh", str(folder / "bot.sh"), "{games}", "{seed}", "{config}"]


def trial_spec(settings: dict[str, Any], **changes: Any) -> TrialSpec:
    seeds = {
        name: int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")
        for name in ("train", "screen", "topup", "duel", "measure", "confirm")
    }
    values: dict[str, Any] = {
        "run_id": "test",
        "iteration": 1,
        "target": "examples/bot",
        "kind": "command",
        "purpose": "search",
        "sampler": "spsa",
        "params": PARAMS,
        "level": 0,
        "scale": "small",
        "budget": Budget(steps=0, wall_s=600.0, ram_mb=1024),
        "games": 8,
        "seeds": seeds,
        "settings": settings,
        **changes,
    }
    return TrialSpec(**values)
