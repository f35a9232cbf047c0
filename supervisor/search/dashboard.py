"""optuna-dashboard over the run's study.db. It has no login, so it gets the file read-only, on this machine alone."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import quote

import optuna_dashboard

from supervisor.errors import UsageError
from supervisor.search.projection import STUDY_DB

HOST = "127.0.0.1"
PORTS = 65536


def read_only_url(run_dir: Path) -> str:
    """A storage URL that nothing can be written through. Raises UsageError where the run has no study.db yet."""
    path = (run_dir / STUDY_DB).resolve()
    if not path.is_file():
        raise UsageError(f"{path} is not there yet: start `incumbent run --run-dir {run_dir}` first")
    return f"sqlite:///file:{quote(str(path))}?mode=ro&uri=true"


def serve(run_dir: Path, port: int) -> None:
    """Serve until interrupted."""
    url = read_only_url(run_dir)
    if not 0 < port < PORTS:
        raise UsageError(f"--port {port}: give one from 1 to {PORTS - 1}")
    if not _free(port):
        raise UsageError(f"{HOST}:{port} is in use; choose another --port")
    print(f"Dashboard of {run_dir} on http://{HOST}:{port}/ (read-only; Ctrl+C ends it)", flush=True)
    optuna_dashboard.run_server(url, host=HOST, port=port)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
