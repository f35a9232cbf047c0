"""README.md as a test reads it: its fenced blocks, and the command lines in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"
BLOCK = re.compile(r"(?:<!-- test: (?P<mark>[\w ]+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```\n", re.DOTALL)
HERE_DOCUMENT = re.compile(r"<<'(\w+)'")
ENDLESS = re.compile(r"--watch|tail -[fF]|incumbent dashboard|incumbent serve")


@dataclass(frozen=True)
class Block:
    """One fenced block. `mark` says how a test has to treat it, "" for just running it."""

    language: str
    text: str
    mark: str = ""

    def commands(self) -> list[str]:
        """The lines as a shell takes them, a here document with the line that begins it."""
        found: list[str] = []
        end = ""
        for line in self.text.splitlines():
            if end:
                found[-1] += f"\n{line}"
                end = "" if line == end else end
                continue
            begin = HERE_DOCUMENT.search(line)
            end = begin[1] if begin else ""
            if line.strip():
                found.append(line)
        return found


def blocks(language: str = "bash") -> list[Block]:
    """The blocks of a language, in order."""
    found = [
        Block(match["language"], match["text"], match["mark"] or "") for match in BLOCK.finditer(README.read_text())
    ]
    return [block for block in found if block.language == language]


def commands() -> list[str]:
    """Every command line of every bash block, in order."""
    return [line for block in blocks() for line in block.commands()]
