"""JSON, with // and /* */ comments where the user has them: values are replaced where they stand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from supervisor.contract import Scalar
from supervisor.external.leaf import ConfigTextError, Leaf, Path, leaf, number_text

SPACE = re.compile(r"(?:[ \t\r\n\ufeff]|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?P<fraction>\.\d+)?(?P<exponent>[eE][-+]?\d+)?")
WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
WORD = re.compile("true|false|null")


def leaves(text: str) -> list[Leaf]:
    """Every scalar. Raises ConfigTextError with the place of a syntax error."""
    scanner = _Scanner(text)
    found = list(scanner.value(()))
    scanner.skip()
    if scanner.at < len(text):
        raise scanner.problem("something follows the end of the value")
    return found


class _Scanner:
    """A position in the text that moves forward over one value after another."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def problem(self, what: str) -> ConfigTextError:
        place = leaf(self.text, (), None, self.at, self.at).place
        return ConfigTextError([f"{place}: not valid JSON: {what}"])

    def skip(self) -> None:
        space = SPACE.match(self.text, self.at)
        self.at = space.end() if space else self.at

    def take(self, characters: str) -> str:
        """The next character that is not space; it must be one of these."""
        self.skip()
        found = self.text[self.at : self.at + 1]
        if not found or found not in characters:
            raise self.problem(f"{' or '.join(characters)} is expected here, not {found or 'the end'!r}")
        self.at += 1
        return found

    def peek(self) -> str:
        self.skip()
        return self.text[self.at : self.at + 1]

    def string(self) -> str:
        self.skip()
        written = STRING.match(self.text, self.at)
        if not written:
            raise self.problem("a string in double quotes is expected here")
        try:
            value = json.loads(written.group())
        except json.JSONDecodeError as error:
            raise self.problem(error.msg) from error
        self.at = written.end()
        return str(value)

    def value(self, path: Path) -> Iterator[Leaf]:
        first = self.peek()
        if first == "{":
            yield from self._object(path)
        elif first == "[":
            yield from self._array(path)
        else:
            start = self.at
            value = self.string() if first == '"' else self._plain()
            yield leaf(self.text, path, value, start, self.at)

    def _object(self, path: Path) -> Iterator[Leaf]:
        self.take("{")
        if self.peek() == "}":
            self.take("}")
            return
        separator = ","
        while separator == ",":
            key = self.string()
            self.take(":")
            yield from self.value((*path, key))
            separator = self.take(",}")

    def _array(self, path: Path) -> Iterator[Leaf]:
        self.take("[")
        if self.peek() == "]":
            self.take("]")
            return
        separator, index = ",", 0
        while separator == ",":
            yield from self.value((*path, str(index)))
            index += 1
            separator = self.take(",]")

    def _plain(self) -> Scalar | None:
        word = WORD.match(self.text, self.at)
        if word:
            self.at = word.end()
            return WORDS[word.group()]
        number = NUMBER.match(self.text, self.at)
        if not number:
            raise self.problem("a value is expected here")
        self.at = number.end()
        return float(number.group()) if number["fraction"] or number["exponent"] else int(number.group())


def render(value: Scalar, old: str) -> str:
    """The value as JSON."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number_text(value)
    return json.dumps(value)
