"""Tests write to memory where the machine has it: they check what is made durable, not how fast the disk is."""

import os

import pytest

from tests.support.command_line import NoopFolder

if os.access("/dev/shm", os.W_OK):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/dev/shm")


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> NoopFolder:
    """Twelve iterations of a real supervisor process on targets that cost nothing. To be read; change a copy."""
    from tests.support.processes import finish, start

    folder = NoopFolder.make(tmp_path_factory.mktemp("finished"))
    finish(start(folder.run_dir, *folder.flags, "--max-iterations", "12"), folder.run_dir)
    return folder
