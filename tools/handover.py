"""What the scripts under the founding document's names share: its flags in, a command line of `incumbent` out."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VALUE, LIST, SWITCH = "value", "list", "switch"


@dataclass(frozen=True)
class Flag:
    """One flag. A list is separated by spaces here, by commas there; what a value may be, `incumbent` says."""

    name: str
    help: str
    kind: str = VALUE
    required: bool = False


ALL = Flag("--all", "every one there is", SWITCH)
ARCHETYPES = Flag("--archetypes", "aggressive defensive support mage tank ranged", LIST)
MODEL_TYPES = Flag("--model-types", "combat_dqn movement_ppo ...", LIST)
SEED = Flag("--seed", "every random choice is derived from it")
PLACES = (Flag("--run-dir", "folder of the run (default: checkpoints)"), Flag("--config", "configuration file (YAML)"))


@dataclass(frozen=True)
class Script:
    """A script: the command that it is another name of, and its flags."""

    command: str
    says: str
    flags: Sequence[Flag]

    def parser(self) -> argparse.ArgumentParser:
        formatter = argparse.RawDescriptionHelpFormatter
        parser = argparse.ArgumentParser(description=self.says, formatter_class=formatter)
        for flag in self.flags:
            if flag.kind == SWITCH:
                parser.add_argument(flag.name, help=flag.help, action="store_true")
            else:
                several = "+" if flag.kind == LIST else None
                parser.add_argument(flag.name, help=flag.help, nargs=several, required=flag.required)
        return parser

    def command_line(self, arguments: Sequence[str]) -> list[str]:
        """The words after `incumbent`."""
        given = vars(self.parser().parse_args(arguments))
        words = [self.command]
        for flag in self.flags:
            value = given[flag.name.removeprefix("--").replace("-", "_")]
            if value is None or value is False:
                continue
            words.append(flag.name)
            if flag.kind != SWITCH:
                words.append(",".join(value) if flag.kind == LIST else value)
        return words

    def run(self, arguments: Sequence[str]) -> int:
        """The exit code of the command."""
        from supervisor.cli import run_cli

        return run_cli(self.command_line(arguments))

    def start(self, file: str) -> None:
        """As a program: in the packages' environment, which is set up if need be."""
        go_on_in_the_environment(file)
        sys.exit(self.run(sys.argv[1:]))


def go_on_in_the_environment(file: str) -> None:
    """Started with a Python that lacks the packages: set up .venv, then become its Python."""
    python = ROOT / ".venv" / "bin" / "python"
    if util.find_spec("optuna") is None and Path(sys.prefix) != python.parent.parent:
        subprocess.run([str(ROOT / "tools" / "setup.sh")], check=True)
        os.execv(python, [str(python), file, *sys.argv[1:]])  # noqa: S606
