#!/usr/bin/env bash
# Sets up .venv with the pinned packages; nothing to do the second time. --dev adds what the tests need.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

extras=""
[ "${1:-}" = "--dev" ] && extras="dev"

find_python() {
    local candidate
    for candidate in ${INCUMBENT_PYTHON:-} python3.13 python3.12 python3.11 python3 python; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "setup: no Python 3.11 to 3.13 found; install one, or name it: INCUMBENT_PYTHON=/path/to/python $0" >&2
    exit 2
}

# The stamp names everything that decides the content of the environment. dev contains the plain set-up.
stamp_of() {
    { cat pyproject.toml tools/constraints.txt tools/setup.sh; echo "$PWD $1"; } | cksum | tr ' ' '-'
}

is_done() {
    [ -x .venv/bin/incumbent ] && [ -f .venv/stamp ] || return 1
    local found
    found=$(cat .venv/stamp)
    [ "$found" = "$(stamp_of dev)" ] || { [ -z "$extras" ] && [ "$found" = "$(stamp_of "")" ]; }
}

is_done && exit 0
if [ ! -w . ]; then # a service's program folder, say
    echo "setup: .venv is missing or older than the program, and $PWD cannot be written; run $PWD/tools/setup.sh once as its owner" >&2
    exit 2
fi
python=$(find_python)

# One set-up at a time: the lock lives as long as descriptor 9 and needs no tool but Python.
exec 9>.setup.lock
"$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
is_done && exit 0

echo "setup: creating .venv with $("$python" --version) and the pinned packages (once; a few minutes on a slow line)"
export PIP_DISABLE_PIP_VERSION_CHECK=1
[ -x .venv/bin/python ] || "$python" -m venv .venv
rm -f .venv/stamp
pip() { .venv/bin/python -m pip --quiet --no-input "$@" 2> >(grep -v '^WARNING: Location .* is ignored' >&2); }

# torch first and pinned by itself: no later step may replace the build that was chosen here.
torch=$(grep '^torch==' tools/constraints.txt)
pip install "$torch"
pip install --constraint tools/constraints.txt hatchling editables
if [ -n "$extras" ]; then
    pip install --constraint tools/constraints.txt --no-build-isolation --editable ".[$extras]"
else
    pip install --constraint tools/constraints.txt --no-build-isolation --editable .
fi
if .venv/bin/python -m pip --disable-pip-version-check list 2>/dev/null | grep -q '^onnxruntime '; then
    echo "setup: onnxruntime and onnxruntime-gpu are both installed and overwrite each other; remove .venv and run again" >&2
    exit 2
fi
stamp_of "$extras" >.venv/stamp
echo "setup: done"
