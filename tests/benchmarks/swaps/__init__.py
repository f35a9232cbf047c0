"""Changing what is live under load: every answer checked, and what a change costs the answers beside it.

    python -m tests.benchmarks.swaps --quick
    python -m tests.benchmarks.swaps

A real server on a real run folder. A load generator in a process of its own asks without pause on kept-alive
connections and notes what each answer was; another process reloads and rolls back meanwhile, both by the same clock.
Server, generator and whatever builds the next model share the machine's cores. Nothing here is a test: a figure is
printed, never asserted.
"""
