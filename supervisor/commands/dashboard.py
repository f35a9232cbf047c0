"""`incumbent dashboard`: optuna-dashboard over the run's study.db, read-only."""

from __future__ import annotations

from pathlib import Path

from supervisor.search.dashboard import serve


def serve_dashboard(run_dir: Path, port: int) -> int:
    serve(run_dir, port)
    return 0
