"""What a fork server of a disturbed run imports last: traps in its trials, and resume points saved more often.

When a trial saves decides nothing but how much a kill costs; the trials of the matrix last a second or two.
"""

from __future__ import annotations

import os

from tests.faults.real_trap import SAVE_INTERVAL, set_trap
from trainers import arena_target

_SERVER_PID = os.getpid()

arena_target.SAVE_INTERVAL_S = float(os.environ[SAVE_INTERVAL])
set_trap(lambda: "fork server" if os.getpid() == _SERVER_PID else "trial")
