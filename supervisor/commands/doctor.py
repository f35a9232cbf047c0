"""`incumbent doctor`: what this machine and this installation lack, and what to do about it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil
import typer

from supervisor.commands.serve import token_of
from supervisor.config.settings import Settings
from supervisor.errors import ConfigurationError, IncumbentError
from supervisor.execution.device import NO_CUDA
from supervisor.execution.gpu import Gpu
from supervisor.execution.local import LocalExecutor
from supervisor.execution.machine import torch_has_cuda
from supervisor.experience.opening import is_postgres, open_store, sqlite_path
from supervisor.search.setup import Setup, load_setup
from supervisor.serving.listening import listen
from supervisor.serving.probe import probe_server

MIB = 2**20
GIB = 2**30


@dataclass(frozen=True)
class Finding:
    """One check. `ok` is None where the answer is neither good nor bad."""

    name: str
    ok: bool | None
    text: str


def examine(run_dir: Path, config: Path | None, as_json: bool) -> int:
    """Print every finding; 1 when one of them is bad."""
    findings = list(_findings(run_dir, config))
    bad = any(finding.ok is False for finding in findings)
    if as_json:
        body = {"ok": not bad, "findings": [vars(finding) for finding in findings]}
        typer.echo(json.dumps(body, indent=2))
        return int(bad)
    marks = {True: "ok  ", False: "BAD ", None: "note"}
    for finding in findings:
        typer.echo(f"{marks[finding.ok]}  {finding.name:14s} {finding.text}")
    return int(bad)


def _findings(run_dir: Path, config: Path | None) -> Iterator[Finding]:
    yield _python()
    yield _onnxruntime()
    yield _import_name()
    yield from _configuration(run_dir, config, _serving_ports)
    yield _trial_process()
    yield _gpu()
    yield _memory()
    yield _run_folder(run_dir)
    yield _compiler()


def _python() -> Finding:
    text = f"{sys.version.split()[0]} at {sys.executable}"
    return Finding("python", sys.version_info >= (3, 11), text)


def _onnxruntime() -> Finding:
    found = [name for name in ("onnxruntime", "onnxruntime-gpu") if _installed(name)]
    if len(found) == 1:
        return Finding("onnxruntime", True, f"{found[0]} {metadata.version(found[0])}")
    what = "both installed, they overwrite each other" if found else "not installed"
    return Finding("onnxruntime", False, f"{what}; remove .venv and run tools/setup.sh")


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _import_name() -> Finding:
    """supervisord installs a package of the same import name: whichever comes first on the path wins."""
    if _installed("supervisor"):
        return Finding(
            "import name",
            False,
            "the package supervisor (supervisord) is installed here too; use separate environments",
        )
    return Finding("import name", True, "no other package is called supervisor")


def _configuration(run_dir: Path, config: Path | None, then: Callable[[Setup], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        setup = load_setup(config, os.environ, {})
    except ConfigurationError as error:
        for problem in error.problems:
            yield Finding("configuration", False, problem)
        return
    yield Finding("configuration", True, f"{config or 'defaults'}, {len(setup.targets)} targets")
    yield from _token(setup.settings)
    yield from then(setup)
    yield from _metrics_port(setup.settings)
    yield _experience_store(run_dir, setup.settings)
    yield from _workers(setup.settings)


def _token(settings: Settings) -> Iterator[Finding]:
    """What is wrong with the file of the bearer token; nothing where it is right, or there is none."""
    try:
        token_of(settings)
    except ConfigurationError as error:
        yield from (Finding("configuration", False, problem) for problem in error.problems)


def _workers(settings: Settings) -> Iterator[Finding]:
    """What several trials at a time may take; the run itself starts no more of them than memory allows."""
    workers, cpus = settings.run.workers, len(os.sched_getaffinity(0))
    if workers == 1:
        return
    ram_gb = workers * settings.budgets.ram_mb * MIB / GIB
    text = f"{workers} trials at a time on {cpus} CPUs, {ram_gb:.1f} GiB of memory if each takes all of budgets.ram_mb"
    fitting = workers <= cpus and ram_gb * GIB <= psutil.virtual_memory().available
    yield Finding("workers", True if fitting else None, text)


def _serving_ports(setup: Setup) -> Iterator[Finding]:
    serving = setup.settings.serving
    yield _serving_port("port", serving.host, serving.port, "serving.")
    if serving.admin_port is not None:
        yield _serving_port("admin port", serving.admin_host, serving.admin_port, "serving.admin_")


def _serving_port(name: str, host: str, port: int, prefix: str) -> Finding:
    health = probe_server(host, port)
    if health is not None:
        return Finding(name, True, f"{port}: an incumbent server answers there, {health.models} models")
    try:
        listen(host, port, prefix).close()
    except IncumbentError as error:
        return Finding(name, False, str(error))
    return Finding(name, True, f"{port} on {host} is free")


def _metrics_port(settings: Settings) -> Iterator[Finding]:
    """Where a run of ours tells how it is already, all is well."""
    host, port = settings.run.metrics_host, settings.run.metrics_port
    if port is None:
        return
    if _tells_of_a_run(host, port):
        yield Finding("metrics port", True, f"{port}: an incumbent run answers there; another needs one of its own")
        return
    try:
        listen(host, port, "run.metrics_").close()
    except IncumbentError as error:
        yield Finding("metrics port", False, f"{error} (null: none)")
    else:
        yield Finding("metrics port", True, f"{port} on {host} is free")


def _tells_of_a_run(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=2.0)
    try:
        connection.request("GET", "/metrics")
        return b"incumbent_start_timestamp_seconds" in connection.getresponse().read()
    except (OSError, ValueError, http.client.HTTPException):  # ValueError: what cannot even be the name of a host
        return False
    finally:
        connection.close()


def _experience_store(run_dir: Path, settings: Settings) -> Finding:
    """Whether it can be reached; `incumbent store doctor` looks into it. A file that is not there yet is not made."""
    url = settings.experience.url.get_secret_value() if settings.experience.url is not None else None
    try:
        if not (url is not None and is_postgres(url)) and not sqlite_path(url, run_dir).exists():
            return Finding("experiences", True, "nothing was played yet: the first experience makes the file")
        open_store(url, run_dir).close()
    except IncumbentError as error:
        return Finding("experiences", False, str(error))
    return Finding("experiences", True, "the store answers; incumbent store doctor looks into it")


def _trial_process() -> Finding:
    executor = LocalExecutor()
    try:
        executor.prepare()
    except IncumbentError as error:
        return Finding("trial process", False, str(error))
    finally:
        executor.close()
    return Finding("trial process", True, "torch and the exporter load")


def _gpu() -> Finding:
    notes: list[str] = []
    gpus = Gpu.find_all(notes.append)
    without = [] if torch_has_cuda() or not gpus else [f"{NO_CUDA}: networks are trained on the CPU"]
    return Finding("GPU", True if gpus else None, "; ".join([*notes, *(str(gpu.card) for gpu in gpus), *without]))


def _memory() -> Finding:
    total = psutil.virtual_memory().total
    return Finding("memory", total >= 2 * GIB, f"{total / GIB:.1f} GiB, {psutil.cpu_count()} CPUs")


def _run_folder(run_dir: Path) -> Finding:
    path = Path(os.path.abspath(run_dir))
    existing = next(folder for folder in (path, *path.parents) if os.path.lexists(folder))  # the run makes the rest
    if not existing.is_dir():
        return Finding("run folder", False, f"{existing} is no folder; give another --run-dir")
    if not os.access(existing, os.W_OK | os.X_OK):
        return Finding("run folder", False, f"{existing} cannot be written; give another --run-dir")
    free = shutil.disk_usage(existing).free
    return Finding("run folder", free >= GIB, f"{run_dir}, {free / GIB:.1f} GiB free")


def _compiler() -> Finding:
    found = shutil.which("cc")
    return Finding("C compiler", None, found or "none: needed only for the example target written in C")
