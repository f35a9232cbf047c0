"""What the inference server costs: side by side with a bare loop of the model and with other servers.

    python -m tests.benchmarks.serving --quick
    python -m tests.benchmarks.serving --install-peers DIR
    python -m tests.benchmarks.serving --peers DIR

One run, one machine, one server process at a time, one load generator: read the ratios. Server and generator share
the machine's cores. Nothing here is a test: a figure is printed, never asserted.
"""
