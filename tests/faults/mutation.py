"""A bug planted in this process: a piece of a function's text replaced, the new function put in the old one's place."""

from __future__ import annotations

import importlib
import inspect
import sys
import textwrap
from dataclasses import dataclass
from types import FunctionType, ModuleType

PLANTED = "planted_text"


class MisfitError(Exception):
    """The text to be replaced is no longer there, or not once: the bug must be written anew."""


@dataclass(frozen=True)
class Edit:
    """`where` is module:function or module:Class.method; `old` must stand in it exactly once."""

    where: str
    old: str
    new: str

    def apply(self) -> None:
        holder, name = self._place()
        before: FunctionType = vars(holder)[name]
        text = self.edited()
        code = compile("from __future__ import annotations\n" + text, f"<planted in {self.where}>", "exec")
        found: dict[str, FunctionType] = {}
        exec(code, inspect.unwrap(before).__globals__, found)
        setattr(found[name], PLANTED, text)  # for a second edit of the same function
        holders = [holder]
        if isinstance(holder, ModuleType):  # and wherever it was imported by name
            holders = [other for other in list(sys.modules.values()) if vars(other).get(name) is before]
        for other in holders:
            setattr(other, name, found[name])

    def edited(self) -> str:
        """The function's text after the edit. Raises MisfitError."""
        holder, name = self._place()
        function = vars(holder)[name]
        source = vars(function).get(PLANTED) or textwrap.dedent(inspect.getsource(function))
        if source.count(self.old) != 1:
            raise MisfitError(f"{self.where} holds {self.old!r} {source.count(self.old)} times")
        return source.replace(self.old, self.new)

    def _place(self) -> tuple[ModuleType | type, str]:
        module_name, _, path = self.where.partition(":")
        module = importlib.import_module(module_name)
        owner, _, name = path.rpartition(".")
        return (getattr(module, owner) if owner else module), name
