from __future__ import annotations

from collections.abc import Iterator

import pytest

from supervisor.execution.executor import Executor
from tests.support import fake_worker
from tests.support.executor_conformance import ExecutorConformance
from tests.support.inline_executor import InlineExecutor


class TestInlineExecutor(ExecutorConformance):
    @pytest.fixture
    def executor(self) -> Iterator[Executor]:
        inline = InlineExecutor(fake_worker.main, slots=2)
        yield inline
        inline.close()
