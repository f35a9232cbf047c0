"""Which metrics and labels a PromQL expression names; as much of the language as our board and rules use."""

from __future__ import annotations

import re

STRING = re.compile(r'"[^"]*"')
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
SELECTOR = re.compile(r"\{([^}]*)\}")
RANGE = re.compile(r"\[[^\]]*\]")
NAME = re.compile(r"(?<![\w$.])([a-zA-Z_:][\w:]*)(?!\s*\(|[\w:])")
WORDS = frozenset({"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring"})


def labels(expression: str) -> set[str]:
    """Those that are matched or grouped by."""
    bare = STRING.sub('""', expression)
    matched = {name for inside in SELECTOR.findall(bare) for name in re.findall(r"(\w+)\s*(?:=|!)", inside)}
    return matched | {name.strip() for inside in GROUPING.findall(bare) for name in inside.split(",")}


def metrics(expression: str) -> set[str]:
    bare = RANGE.sub("", SELECTOR.sub("", STRING.sub('""', expression)))
    return set(NAME.findall(GROUPING.sub("", bare))) - WORDS
