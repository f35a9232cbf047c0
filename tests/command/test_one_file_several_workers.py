"""A user's own file while several workers search: one trial at a time has it, and no winner stays out of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from supervisor.config.settings import Settings
from supervisor.contract import Version
from supervisor.execution.executor import Exit, Launch
from supervisor.external.in_place import Claim, take
from supervisor.journal.log import read_log
from supervisor.projections import RunProjections
from supervisor.registry.store import ModelStore
from supervisor.search.space import Parameter, Space
from supervisor.search.target import TargetDefinition
from supervisor.state import State, TargetState
from tests.support.inline_executor import InlineExecutor
from tests.support.lines import line
from tests.support.programs import CONFIG, OTHER_PARAMS, command_settings, make_program
from tests.support.small_run import SmallRun, definition
from trainers import worker

BOT = "mine/bot"
BOLDER_WINS = """\
awk -v games="$GAMES" '/aggression/ { won = ($2 > 0.5) }
END { printf "{\\"games\\":["; for (i = 0; i < games; i++) printf "%s%d", i ? "," : "", won; print "]}" }' "$CONFIG"
"""
WON = CONFIG.replace("0.5", "0.75").replace("2  ", "3  ")
WINNER = Version("v000042", 42, OTHER_PARAMS, "sha-of-42")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return make_program(tmp_path / "user", BOLDER_WINS).parent / "config.yaml"


def bot(config: Path) -> TargetDefinition:
    return TargetDefinition(
        key=BOT,
        kind="command",
        space=Space((Parameter("weights.aggression", "float", default=0.5, low=0.0, high=1.0),)),
        frequency="high",
        steps=0,
        wall_s=60.0,
        contenders="screened",
        games_cheap=False,
        scale="small",
        settings=command_settings(config.parent, block_games=500),
    )


class AtOnce(InlineExecutor):
    """Each trial of the bot has its file from the moment it is submitted, as a real process has it soon after."""

    def __init__(self, config: Path) -> None:
        super().__init__(worker.main, slots=2)
        self._config = config
        self._claims: dict[str, Claim] = {}
        self.most = 0

    def submit(self, launch: Launch) -> str:
        if json.loads((launch.folder / "trial.json").read_text())["target"] == BOT:
            claim = take(self._config)
            assert claim is not None, "another trial has the file"
            self._claims[str(launch.folder)] = claim
        self.most = max(self.most, 2 - self.capacity() + 1)
        return super().submit(launch)

    def _run(self, launch: Launch) -> Exit:
        if str(launch.folder) in self._claims:
            self._claims.pop(str(launch.folder)).release()
        return super()._run(launch)


def test_one_trial_at_a_time_has_the_file_and_its_winner_is_written_before_the_next_begins(
    config: Path, tmp_path: Path
) -> None:
    definitions = {BOT: bot(config), "mage/noop": definition("mage/noop")}
    run = SmallRun(tmp_path / "run", targets=tuple(definitions), window=4, definitions=definitions)
    executor = AtOnce(config)
    run.run(9, slots=2, executor=executor)
    promoted = [record for record in read_log(run.run_dir).records if record.target == BOT and record.promoted]
    assert len(promoted) > 1
    assert executor.most == 2, "trials of other targets run beside it"
    assert not [text for text in run.said if "a trial is using it" in text]
    assert f"{promoted[-1].params['weights.aggression']}" in config.read_text()


class Waiting:
    """A winner that could not be written because a trial had the file."""

    def __init__(self, config: Path, run_dir: Path) -> None:
        run_dir.mkdir()
        run = SmallRun(run_dir, definitions={BOT: bot(config)})
        self.said, self.state = run.said, State(targets={BOT: TargetState(incumbent=WINNER)})
        self.projections = RunProjections(
            run_dir, Settings(), run.definitions, ModelStore(run_dir), run.events(), None, None
        )
        claim = take(config)
        assert claim is not None
        self.claim = claim
        claim.put(b"weights: {aggression: 9, caution: 9}\n")
        self.projections.catch_up(self.state)

    def another_trial_ends(self) -> None:
        self.projections.committed(line(1, {}, target="mage/noop"), self.state)


def test_a_winner_whose_file_a_trial_has_is_written_at_a_later_commit(config: Path, tmp_path: Path) -> None:
    waiting = Waiting(config, tmp_path / "run")
    for _ in range(3):
        waiting.another_trial_ends()
    assert [text for text in waiting.said if "a trial is using it" in text] == waiting.said, "told"
    assert len(waiting.said) == 1, "once"
    waiting.claim.release()
    waiting.another_trial_ends()
    assert config.read_text() == WON
    assert "holds the values of v000042 now" in waiting.said[-1]
    waiting.another_trial_ends()
    assert len(waiting.said) == 2


def test_a_winner_whose_file_a_trial_had_to_the_last_is_written_at_the_end(config: Path, tmp_path: Path) -> None:
    waiting = Waiting(config, tmp_path / "run")
    waiting.claim.release()
    waiting.projections.close()
    assert config.read_text() == WON
