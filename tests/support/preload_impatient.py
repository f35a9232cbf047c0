"""Preloaded by tests that find a trial folder taken: a trial waits for it a moment only."""

from supervisor.execution import child

child.FENCE_WAIT_S = 0.1
