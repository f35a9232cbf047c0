from __future__ import annotations

import sys
from pathlib import Path

import pytest

from supervisor.errors import ConfigurationError
from trainers.custom import load_target

GOOD = """
class Mine:
    def __init__(self, spec, folder, control): self.folder = folder
    def build(self, params, work): ...
    def candidate(self, params, built): ...
    def incumbent(self, version): ...
    def close(self): ...
class Half:
    def build(self, params, work): ...
number = 3
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "users_target.py").write_text(GOOD)
    (tmp_path / "users_broken.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("users_target", "users_broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_a_class_is_found_by_its_name() -> None:
    assert load_target("users_target:Mine").__name__ == "Mine"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("arean", "neither a built-in kind nor module:Class"),
        ("users_target:", "neither a built-in kind nor module:Class"),
        ("os; import sys:Mine", "neither a built-in kind nor module:Class"),
        ("users_missing:Mine", "on PYTHONPATH?"),
        ("users_broken:Mine", "No module named 'no_such_library'"),
        ("users_target:Yours", "has no class Yours"),
        ("users_target:number", "has no class number"),
        ("users_target:Half", "the class has no candidate, incumbent, close;"),
    ],
)
def test_a_name_that_leads_nowhere_says_what_to_correct(name: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_target(name)
    assert told in str(caught.value)
    assert name in str(caught.value)
