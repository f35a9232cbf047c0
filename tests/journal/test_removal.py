"""Folders that do not want to go: what a trial protected against writing, and what belongs to somebody else."""

import os

import pytest

from supervisor.journal.removal import clear_place, remove_tree
from tests.support.rights import SOMEBODY_ELSE, as_anybody, only_root_gives_away


@pytest.fixture(autouse=True)
def _rights():
    with as_anybody():
        yield


@pytest.fixture
def tree(tmp_path):
    inner = tmp_path / "work" / "deep" / "deeper"
    inner.mkdir(parents=True)
    (inner / "out.bin").write_text("x")
    (tmp_path / "work" / "own.txt").write_text("x")
    return tmp_path / "work"


@pytest.mark.parametrize("mode", [0o555, 0o000, 0o333])
def test_folders_that_cannot_be_written_or_read_go_too(tree, mode):
    for folder in (tree / "deep" / "deeper", tree / "deep", tree):
        folder.chmod(mode)
    assert remove_tree(tree) == ""
    assert not tree.exists()


def test_what_links_point_to_stays_as_it_is(tree, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "data").write_text("x")
    mine.chmod(0o555)
    (tree / "deep" / "link").symlink_to(mine)
    (tree / "deep").chmod(0o555)
    assert remove_tree(tree) == ""
    assert (mine / "data").exists()
    assert mine.stat().st_mode & 0o777 == 0o555
    mine.chmod(0o755)


def test_what_is_not_there_needs_no_removing(tmp_path):
    assert remove_tree(tmp_path / "none") == ""


@pytest.fixture
def foreign(tree):
    """Part of the tree belongs to somebody else."""
    with_rights = tree / "deep" / "deeper"
    with_rights.chmod(0o755)
    os.chown(with_rights, SOMEBODY_ELSE, SOMEBODY_ELSE)
    return tree


@only_root_gives_away
def test_of_what_belongs_to_somebody_else_it_is_said_and_the_rest_goes(foreign):
    problem = remove_tree(foreign)
    assert problem.startswith(f"{foreign}: could not be removed (out.bin: Permission denied)")
    assert not (foreign / "own.txt").exists()
    assert (foreign / "deep" / "deeper" / "out.bin").exists()


@only_root_gives_away
def test_what_stays_is_moved_out_of_the_way_of_something_new(foreign, tmp_path):
    (tmp_path / "work.1.left").mkdir()
    assert clear_place(foreign).endswith("it is work.2.left now")
    assert not foreign.exists()
    assert (tmp_path / "work.2.left" / "deep" / "deeper" / "out.bin").exists()
    assert remove_tree(tmp_path / "work.2.left")
    assert "now" not in clear_place(tmp_path / "work.2.left")
    assert (tmp_path / "work.2.left").exists()
