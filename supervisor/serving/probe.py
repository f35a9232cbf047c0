"""Is a server of ours listening there, and of which run folder?"""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.registry.client import NoAnswerError, ServerClient


@dataclass(frozen=True)
class Health:
    """What `/health` answered. The ids are None while the run folder has had no first start."""

    status: str
    run_id: str | None
    folder_id: str | None
    pid: int
    models: int


def probe_server(host: str, port: int, timeout_s: float = 2.0) -> Health | None:
    """The server's health; None where nothing answers or what answers is no server of ours."""
    try:
        answer = ServerClient(host, port, timeout_s=timeout_s).get("/health")
    except NoAnswerError:
        return None
    match answer.body:
        case {"status": str(status), "run_id": str() | None as run_id, "folder_id": str() | None as folder_id,
              "pid": int(pid), "models": int(models)} if answer.status == 200:  # fmt: skip
            return Health(status, run_id, folder_id, pid, models)
        case _:
            return None
