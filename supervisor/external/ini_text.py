"""INI and its relatives (cfg, conf, properties): `key = value` or `key: value` lines under `[section]` lines.

A value's path is (section, key), or (key,) above the first section. Comments begin with # or ; at the start of a line,
or after a space behind the value.
"""

from __future__ import annotations

import re

from supervisor.contract import Scalar
from supervisor.external.leaf import ConfigTextError, Leaf, leaf, number_text, parse_number

SECTION = re.compile(r"\s*\[([^\]]+)\]\s*(?:[#;].*)?")
ENTRY = re.compile(r"(?P<key>[^\s=:#;\[][^=:]*?)[ \t]*[=:][ \t]*(?P<value>.*)")
COMMENT = re.compile(r"(?:^|[ \t]+)[#;].*")
TRUE_FALSE = (("true", "false"), ("yes", "no"), ("on", "off"), ("1", "0"))


def leaves(text: str) -> list[Leaf]:
    """Every entry. Raises ConfigTextError for lines that are neither section, entry nor comment."""
    found: list[Leaf] = []
    problems: list[str] = []
    section: tuple[str, ...] = ()
    start = 0
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        content = line.rstrip("\r\n").removeprefix("\ufeff")
        offset = start + len(line.rstrip("\r\n")) - len(content)
        start += len(line)
        if not content.strip() or content.lstrip()[0] in "#;":
            continue
        header, entry = SECTION.fullmatch(content), ENTRY.fullmatch(content)
        if header:
            section = (header[1].strip(),)
        elif entry:
            value = COMMENT.sub("", entry["value"], count=1).rstrip()
            at = offset + entry.start("value")
            found.append(leaf(text, (*section, entry["key"]), _value(value), at, at + len(value)))
        elif not (content[0] in " \t" and found):  # an indented line continues the value above
            problems.append(f"{number}:1: not a [section], a 'key = value' or a comment: {content.strip()[:40]!r}")
    if problems:
        raise ConfigTextError(problems)
    return found


def _value(written: str) -> Scalar | None:
    if not written:
        return None
    if len(written) > 1 and written[0] == written[-1] and written[0] in "\"'":
        return written[1:-1]
    number = parse_number(written)
    if number is not None:
        return number
    for true, false in TRUE_FALSE[:3]:
        if written.lower() in (true, false):
            return written.lower() == true
    return written


def render(value: Scalar, old: str) -> str:
    """The value in the style of the old text: its quotes, its way of saying true."""
    if isinstance(value, bool):
        true, false = next((pair for pair in TRUE_FALSE if old.lower() in pair), TRUE_FALSE[0])
        word = true if value else false
        return word.upper() if old.isupper() else word.capitalize() if old[:1].isupper() else word
    if isinstance(value, int | float):
        return number_text(value)
    quote = old[0] if old[:1] in ("'", '"') else ""
    return f"{quote}{value}{quote}"
