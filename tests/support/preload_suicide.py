"""A module whose import kills the process, as a broken compiled library does."""

import os
import signal

os.kill(os.getpid(), signal.SIGKILL)
