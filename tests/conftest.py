"""Tests write to memory where the machine has it: they check what is made durable, not how fast the disk is."""

import os

import pytest

from tests.support.command_line import NoopFolder

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before torch is imported: results depend on the thread count

os.environ.setdefault("INCUMBENT_RUN__METRICS_PORT", "null")  # runs side by side would fight for one port
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if os.access("/dev/shm", os.W_OK):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/dev/shm")


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> NoopFolder:
    """Twelve iterations of a real supervisor process on targets that cost nothing. To be read; change a copy."""
    from tests.support.processes import finish, start

    folder = NoopFolder.make(tmp_path_factory.mktemp("finished"))
    finish(start(folder.run_dir, *folder.flags, "--max-iterations", "12"), folder.run_dir)
    return folder
