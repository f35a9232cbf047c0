"""What the calls of durable.py that have returned promise of each path: after a power cut it must be on the disk."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from supervisor.journal import durable, requests


@dataclass(frozen=True)
class Promise:
    """Of one path: a folder, nothing at all, or these bytes (`more` may follow while an append is under way)."""

    kind: str  # file | folder | nothing
    size: int = 0
    sha256: str = ""
    more: bool = False

    @classmethod
    def of(cls, data: bytes, more: bool = False) -> Promise:
        return cls("file", len(data), durable.sha256_bytes(data), more)

    def kept(self, path: Path) -> bool:
        if self.kind == "folder":
            return path.is_dir()
        if self.kind == "nothing" or not path.is_file():
            return self.kind == "nothing" and not path.exists()
        data = path.read_bytes()
        return durable.sha256_bytes(data[: self.size]) == self.sha256 and (self.more or len(data) == self.size)


NOTHING, FOLDER = Promise("nothing"), Promise("folder")


class Promises:
    """Listens to durable.py in this process. Of a path any one of its promises must be kept."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._made: dict[Path, list[Promise]] = {}

    def listen(self) -> None:
        """Must be called once, before the work."""
        self._around(durable, "write_atomic", self._replacing, self._holds)
        self._around(durable, "append", self._growing, self._holds)
        self._around(durable, "truncate", self._shrinking, self._holds)
        self._around(durable, "make_folder", self._unknown, self._is_folder)
        finish = requests.done

        def done(run_dir: Path, request_id: str) -> None:
            finish(run_dir, request_id)
            self._made[run_dir / requests.FOLDER_NAME / f"{request_id}.json"] = [NOTHING]

        requests.done = done

    def now(self) -> dict[str, list[dict[str, Any]]]:
        """By path, as JSON. What somebody took away without a promise may or may not be there."""
        return {
            str(path.relative_to(self._root)): [asdict(promise) for promise in made]
            for path, made in self._made.items()
            if path.exists() or NOTHING in made
        }

    def _around(
        self, module: Any, name: str, before: Callable[..., list[Promise] | None], after: Callable[[Path], Promise]
    ) -> None:
        original = getattr(module, name)

        @functools.wraps(original)
        def listened(path: Path, *arguments: Any, **named: Any) -> Any:
            meanwhile = before(path, *arguments)
            if meanwhile is None:
                self._made.pop(path, None)
            else:
                self._made[path] = meanwhile
            result = original(path, *arguments, **named)
            self._made[path] = [after(path)]
            return result

        setattr(module, name, listened)

    def _replacing(self, path: Path, data: bytes, *_: object) -> list[Promise] | None:
        """The old file or the new one, whole."""
        old = self._made.get(path, None if path.exists() else [NOTHING])
        return None if old is None else [*old, Promise.of(data)]

    def _growing(self, path: Path, *_: object) -> list[Promise]:
        if not path.exists():
            return [NOTHING, Promise.of(b"", more=True)]
        return [Promise.of(path.read_bytes(), more=True)] if path in self._made else []

    def _shrinking(self, path: Path, size: int) -> list[Promise] | None:
        return [Promise.of(path.read_bytes()[:size], more=True)] if path in self._made else None

    def _unknown(self, path: Path) -> None:
        return None

    def _holds(self, path: Path) -> Promise:
        return Promise.of(path.read_bytes())

    def _is_folder(self, path: Path) -> Promise:
        return FOLDER


def broken(root: Path, made: dict[str, list[dict[str, Any]]]) -> Sequence[str]:
    """A sentence for every path of which no promise is kept."""
    return [
        f"{name} is not as promised: {_found(root / name)}"
        for name, promises in made.items()
        if promises and not any(Promise(**promise).kept(root / name) for promise in promises)
    ]


def _found(path: Path) -> str:
    if not path.exists():
        return "it is missing"
    return f"it holds {path.read_bytes()[-100:]!r}" if path.is_file() else "it is a folder"
