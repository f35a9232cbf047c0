"""The target kind `command`: any program that reads a configuration file and answers with its games.

The program is called with `{games}` and `{seed}` and answers one JSON object, on stdout or in the file `{out}`:
`{"games":[1,0,0.5,...]}`, where `games[i]` is the game with seed `{seed}` + i, or `{"wins":W,"draws":D,"losses":L}`.
Its environment is ours, less every variable that begins with INCUMBENT_ (they may hold secrets), and with these added:
INCUMBENT_TRIAL (the trial's folder), INCUMBENT_TARGET, INCUMBENT_CONFIG, INCUMBENT_GAMES, INCUMBENT_SEED, INCUMBENT_OUT
(the last three for `evaluate` only). INCUMBENT_VRAM_FRACTION stays, where there is a GPU: the share of its memory that
the trial may take.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from supervisor.contract import Params, Reason, TrialSpec, Version
from supervisor.errors import TrialError
from supervisor.external.command_settings import CommandSettings, fill, parse_command
from supervisor.external.in_place import restore_leftovers
from supervisor.journal import durable, sealed
from trainers.command_output import Answer, parse_answer
from trainers.command_run import OUTPUT_LIMIT_BYTES, Call, Finished, kill_leftovers, run
from trainers.command_sides import CopiedSides, InPlaceSides, Place, Sides, config_sha256
from trainers.gpu_share import SHARE_NAME
from trainers.target import Built, Control, StopRequested

MARKER = "INCUMBENT_TRIAL"
WORK_NAME = "external"
FACTS_NAME = "facts.jsonl"
DETAIL_CHARACTERS = 2000
ATTEMPTS = 3  # a block during which somebody changed the configuration is played again


class CommandPlayer:
    """One configuration, played by the user's program. `metrics` are those of the last block."""

    def __init__(self, target: CommandTarget, params: Params) -> None:
        self._target = target
        self._params = params
        self.metrics: Mapping[str, float] = {}

    def play(self, first_seed: int, games: int) -> Sequence[float]:
        answer = self._target.evaluate(self._params, first_seed, games)
        self.metrics = answer.metrics
        return answer.scores


class CommandTarget:
    """See the module's text. Totals have no game per seed: their pairs are valid but unpaired comparisons."""

    def __init__(self, spec: TrialSpec, folder: Path, control: Control) -> None:
        self._settings = parse_command(spec.settings, folder)
        self._target = spec.target
        self._folder = folder.resolve()
        self._control = control
        self._work = self._folder / WORK_NAME
        self._blocks = 0
        self._sides = _sides(self._settings, self._work, control)
        self.block_games = self._settings.block_games
        kill_leftovers(MARKER, str(self._folder))
        if self._settings.in_place:  # a trial killed in its last moment is never asked to play again
            for note in restore_leftovers([self._settings.config_file]):
                self._note(note)

    def build(self, params: Params, work: Path) -> Built:
        self._prepare(params)
        return Built(steps=0, config_sha256=config_sha256(params))

    def candidate(self, params: Params, built: Built) -> CommandPlayer:
        return CommandPlayer(self, params)

    def incumbent(self, version: Version) -> CommandPlayer:
        return CommandPlayer(self, version.params)

    def close(self) -> None:
        for note in self._sides.close():
            self._note(note)

    def evaluate(self, params: Params, first_seed: int, games: int) -> Answer:
        """One block of games of this configuration."""
        for _ in range(ATTEMPTS):
            answer = self._evaluate(self._prepare(params), first_seed, games)
            if self._sides.untouched():
                return answer
        raise TrialError(
            Reason.CONFIG_FILE,
            f"{self._settings.config_file} changed while the program ran, {ATTEMPTS} times in a row; if the program"
            " writes its own configuration, pass it a copy with {config} or name a source_dir",
        )

    def _prepare(self, params: Params) -> Place:
        try:
            return self._sides.prepare(params, self._build)
        except OSError as error:
            if error.errno in durable.FULL:
                raise
            raise TrialError(Reason.CONFIG_FILE, f"{self._settings.config_file} cannot be used: {error}") from error

    def _build(self, place: Place) -> None:
        if not self._settings.build:
            return
        values = {"config": str(place.config), "build": str(place.build), "python": sys.executable}
        command = fill(self._settings.build, values)
        call = Call(command, place.folder, self._environment(place), self._settings.build_timeout_s, False)
        finished = self._run(call, Reason.BUILD_FAILED)
        if finished.timed_out:
            raise TrialError(Reason.BUILD_TIMEOUT, _detail(f"not built within {call.timeout_s:g} s", command, finished))
        if finished.exit_code != 0:
            raise TrialError(Reason.BUILD_FAILED, _detail(finished.how, command, finished))

    def _evaluate(self, place: Place, first_seed: int, games: int) -> Answer:
        out = self._work / "answer.json"
        out.parent.mkdir(parents=True, exist_ok=True)
        out.unlink(missing_ok=True)
        values = {"config": str(place.config), "build": str(place.build), "python": sys.executable, "out": str(out)}
        values |= {"games": str(games), "seed": str(first_seed)}
        command = fill(self._settings.evaluate, values)
        environment = self._environment(place) | {
            "INCUMBENT_GAMES": str(games),
            "INCUMBENT_SEED": str(first_seed),
            "INCUMBENT_OUT": str(out),
        }
        writes_file = any("{out}" in word for word in self._settings.evaluate)
        call = Call(command, place.folder, environment, self._settings.timeout_s, not writes_file)
        finished = self._run(call, Reason.EXIT_CODE)
        self._blocks += 1
        try:
            text = _answer_text(finished, out, self._settings)
            return parse_answer(text, games, first_seed, self._settings.metrics)
        except TrialError as error:
            raise TrialError(error.reason, _detail(error.detail, command, finished)) from error

    def _run(self, call: Call, cannot_start: Reason) -> Finished:
        try:
            return run(call, self._watch)
        except OSError as error:
            raise TrialError(cannot_start, f"{call.command[0]} cannot be started in {call.folder}: {error}") from error

    def _watch(self) -> None:
        """What a running program is interrupted for: a wish to stop. Its block is played again later."""
        self._control.beat(self._blocks)
        if self._control.stop_requested:
            raise StopRequested

    def _environment(self, place: Place) -> dict[str, str]:
        ours = {MARKER: str(self._folder), "INCUMBENT_TARGET": self._target, "INCUMBENT_CONFIG": str(place.config)}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("INCUMBENT_")}
        share = {SHARE_NAME: os.environ[SHARE_NAME]} if SHARE_NAME in os.environ else {}
        return kept | share | ours

    def _note(self, text: str) -> None:
        """An event for the supervisor: a fact of the trial."""
        print(text, file=sys.stderr)
        sealed.append_line(self._folder / FACTS_NAME, {"fact": "user_file", "event": text})


def _sides(settings: CommandSettings, work: Path, control: Control) -> Sides:
    if settings.in_place:
        return InPlaceSides(settings, work, control)
    return CopiedSides(settings, work, run_dir=work.parents[2])


def _answer_text(finished: Finished, out: Path, settings: CommandSettings) -> str:
    if finished.timed_out:
        raise TrialError(Reason.TIMEOUT, f"did not end within {settings.timeout_s:g} s")
    written = out.stat().st_size if out.is_file() else 0
    if written > OUTPUT_LIMIT_BYTES or (finished.too_large and not written):
        raise TrialError(
            Reason.OUTPUT_TOO_LARGE,
            f"answered more than {OUTPUT_LIMIT_BYTES} bytes; write what is not the answer to stderr",
        )
    if finished.exit_code != 0:
        raise TrialError(Reason.EXIT_CODE, finished.how)
    return (out.read_bytes() if written else finished.stdout).decode("utf-8", "replace")


def _detail(what: str, command: Sequence[str], finished: Finished) -> str:
    """What happened, in which command, and the end of what it said on stderr."""
    head = f"{what} ({' '.join(command)[:300]})"
    tail = finished.error_tail[-(DETAIL_CHARACTERS - len(head)) :] if len(head) < DETAIL_CHARACTERS else ""
    return f"{head}\n{tail}".strip()
