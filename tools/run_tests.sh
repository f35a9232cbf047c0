#!/usr/bin/env bash
# Sets up what the tests need and runs them. Flags go to pytest: tools/run_tests.sh -m slow, tools/run_tests.sh tests/journal
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools/setup.sh --dev
# One thread per process: the suite runs trials beside each other, and results depend on the thread count.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
exec .venv/bin/python -m pytest "$@"
