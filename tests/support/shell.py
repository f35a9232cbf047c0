"""Shell lines as people paste them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def shell(line: str, cwd: Path, environ: Mapping[str, str] | None = None, timeout_s: float = 120.0) -> str:
    """What the line prints; it must leave with 0 and complain about nothing. A pipe fails with any of its parts."""
    if "jq" in line and shutil.which("jq") is None:
        raise AssertionError("jq is not installed: the documents' one-liners cannot be tried; install the package jq")
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{line}"],
        cwd=cwd,
        env={**{name: value for name, value in os.environ.items() if name != "COLUMNS"}, **(environ or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{line}\nleft with {done.returncode}\n{done.stdout}{done.stderr}"
    assert done.stderr == "", f"{line}\n{done.stderr}"
    return done.stdout


def shell_json(line: str, cwd: Path) -> Any:
    """The JSON that the line prints."""
    return json.loads(shell(line, cwd))
