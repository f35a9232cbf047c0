"""Tests write to memory where the machine has it: they check what is made durable, not how fast the disk is."""

import os

if os.access("/dev/shm", os.W_OK):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/dev/shm")
