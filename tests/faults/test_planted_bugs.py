"""The planted bugs still have their place in the code; `python -m tests.faults.planted` shows that each is caught."""

import ast

import pytest

from tests.faults.bugs import BUGS
from tests.faults.cells import all_cells
from tests.faults.mutation import Edit, MisfitError
from tests.support.processes import ROOT


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_code_it_changes_is_there(bug):
    for edit in bug.edits:
        ast.parse(edit.edited())


def test_a_bug_whose_place_is_gone_is_told():
    with pytest.raises(MisfitError, match="0 times"):
        Edit("supervisor.journal.durable:append", "no such text", "").edited()


def test_whoever_is_expected_to_notice_exists(tmp_path):
    cells = {cell.name for cell in all_cells(tmp_path)}
    for name in {name for bug in BUGS for name in bug.noticed_by if "*" not in name}:
        assert name in cells or (ROOT / name).exists(), name
