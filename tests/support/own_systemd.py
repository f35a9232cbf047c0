"""A real systemd with nothing in it but units of ours, in namespaces of its own: it sees no host, no host sees it.

Needs root, util-linux and a writable cgroup2 hierarchy; `missing` says what this machine lacks.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.support.processes import wait_for

SYSTEMD = Path("/usr/lib/systemd/systemd")
STOCK = Path("/usr/lib/systemd/system")
NAMESPACES = ("--mount", "--pid", "--cgroup", "--net", "--uts", "--ipc")
USER, UID = "incumbent", 64990
GOAL = "incumbent-test.target"

BOOT = f"""\
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mount -t proc proc /proc
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --bind "$1/units" /etc/systemd/system
mount --bind "$1/stock" {STOCK}
mount -t tmpfs tmpfs /usr/lib/systemd/system-generators
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/group" /etc/group
mount --bind "$1/state" /var/lib
mount --bind "$1/srv" /srv
mount --bind "$1/console" /dev/console
exec env -i container=other PATH="$PATH" {SYSTEMD} --system --unit={GOAL} --log-target=console --show-status=no
"""
ENTER = 'echo $$ >"$0/cgroup.procs" && exec unshare --fork --kill-child "$@"'


def missing() -> str | None:
    """What keeps a systemd of our own from running here."""
    if os.geteuid() != 0:
        return "not root"
    if not SYSTEMD.exists():
        return "systemd is not installed"
    for tool in ("unshare", "nsenter", "systemctl"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    if cgroup2() is None:
        return "no writable cgroup2 hierarchy"
    return None


def cgroup2() -> Path | None:
    """Where the hierarchy is mounted."""
    rows = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    found = [Path(row[1]) for row in rows if row[2] == "cgroup2" and "rw" in row[3].split(",")]
    return found[0] if found else None


class OwnSystemd:
    """Running inside the `with` block. `units` are the contents of /etc/systemd/system, `/srv` is `base/srv`."""

    def __init__(self, base: Path, units: Mapping[str, str]) -> None:
        self.base = base
        for name in ("units", "stock", "state", "srv"):
            (base / name).mkdir()
        for name, text in {**units, GOAL: "[Unit]\nDescription=nothing\n"}.items():
            self.write_unit(name, text)
        for path in STOCK.iterdir():
            if path.suffix in (".target", ".slice") and path.is_file() and not path.is_symlink():
                shutil.copy(path, base / "stock")
        (base / "console").touch()
        (base / "passwd").write_text(
            Path("/etc/passwd").read_text() + f"{USER}:x:{UID}:{UID}::/nonexistent:/bin/false\n"
        )
        (base / "group").write_text(Path("/etc/group").read_text() + f"{USER}:x:{UID}:\n")
        hierarchy = cgroup2()
        assert hierarchy is not None
        self._cgroup = hierarchy / f"incumbent-test-{os.getpid()}"

    def write_unit(self, name: str, text: str) -> None:
        path = self.base / "units" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def __enter__(self) -> OwnSystemd:
        self._cgroup.mkdir()
        (self.base / "boot.sh").write_text(BOOT)
        inside = [*NAMESPACES, "bash", str(self.base / "boot.sh"), str(self.base)]
        self._outer = subprocess.Popen(["bash", "-c", ENTER, str(self._cgroup), *inside], stdin=subprocess.DEVNULL)
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children")
        wait_for("its first process", lambda: children.read_text().strip() != "" or self._outer.poll() is not None)
        self._pid = int(children.read_text())
        wait_for("systemd listens", self._listens, timeout_s=60)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            (self._cgroup / "cgroup.kill").write_text("1")
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)  # the first of its namespace: everything in it goes with it
        self._outer.wait(timeout=60)
        wait_for("its control groups are empty", self._cgroups_are_gone, timeout_s=60)

    def call(self, *command: str, check: bool = True) -> str:
        """What a command in there prints, as root."""
        done = subprocess.run(
            ["nsenter", "-t", str(self._pid), *NAMESPACES, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0 or not check, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        return self.call("systemctl", "--no-pager", *arguments, check=check)

    def show(self, unit: str, name: str) -> str:
        """One property of the unit."""
        return self.systemctl("show", unit, "--property", name, "--value").strip()

    def main_pid(self, unit: str) -> int:
        return int(self.show(unit, "MainPID"))

    def pids(self, unit: str, part: str) -> list[str]:
        """In there: the unit's processes with the part in their command line."""
        group = self.show(unit, "ControlGroup")
        listed = self.call("cat", f"/sys/fs/cgroup{group}/cgroup.procs", check=False).split()
        return [
            pid for pid in listed if part in self.call("cat", f"/proc/{pid}/cmdline", check=False).replace("\0", " ")
        ]

    def said(self, unit: str) -> str:
        """Both outputs of the unit since the start."""
        path = self.base / "state" / f"{unit}.out"
        return path.read_text() if path.exists() else ""

    def _listens(self) -> bool:
        assert self._outer.poll() is None, (self.base / "console").read_text()
        return self.call("systemctl", "is-active", GOAL, check=False).strip() == "active"

    def _cgroups_are_gone(self) -> bool:
        for path, _, _ in os.walk(self._cgroup, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(path)
        return not self._cgroup.exists()
