#!/usr/bin/env python3
"""The whole circle on one machine: play through the server, store, train, prove, promote, reload, play.

    python3 tools/live_circle.py --run-dir checkpoints-live --minutes 30

The first version is weak on purpose: a small part of the usual training. From then on nothing is searched; targets
learn only from what their own models play. Ctrl+C ends it, the same command goes on where it was. After half of the
time the first version is put back into production as by an operator, for the server to find out and roll back.
INCUMBENT_EXPERIENCE__URL=postgresql://... keeps the experiences in PostgreSQL (incumbent store init makes the tables).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
INCUMBENT = ROOT / ".venv" / "bin" / "incumbent"
TARGETS = "aggressive/combat_dqn,mage/combat_dqn"
CONFIG_NAME, PLANTED_NAME, LOG_NAME, CYCLE_NAME = "live.yaml", "planted", "training_log.jsonl", "cycle.json"
INTERVAL_S = 90
JUST_S = 5.0
STOP_S = 60
WEAK_STEPS = 200_000  # of the 800,000 that combat_dqn usually trains for


def config_of(targets: Sequence[str], port: int, interval_s: float) -> str:
    """A watch that a few clients are enough for, and cycles far enough apart for it to see what it watches."""
    keys = ", ".join(targets)
    return f"""run: {{targets: [{keys}], metrics_port: 0, retention_versions: 100}}
targets: {{"*/combat_dqn": {{steps: {WEAK_STEPS}}}}}
serving: {{port: {port}}}
continuous: {{search: false, check_interval_s: {interval_s:g}, min_new_experiences: 2000}}
watch: {{window_s: 600, holdback: 0.4, settle_s: 10, games_per_client: 100000}}
"""


def lines_of(run_dir: Path) -> list[dict[str, Any]]:
    """What the log holds by now."""
    try:
        whole = (run_dir / LOG_NAME).read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in whole]


def strength(lines: Sequence[Mapping[str, Any]], target: str) -> list[float]:
    """The measured win rate of what was in production after each of the target's iterations."""
    return [line["best_win_rate"] for line in lines if line["target"] == target and line["best_win_rate"] is not None]


def table(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each change of production."""
    rows = [f"{'iteration':>9}  {'finished':<19}  {'target':<24}  {'what':<26}  {'version':<8}  win rate"]
    for line in lines:
        if line["promoted"] or line["rollbacks"]:
            rate = "" if line["best_win_rate"] is None else f"{100 * line['best_win_rate']:.1f} %"
            what = f"{line['purpose']}: {line['reason']}"
            when, version = str(line["time"]["finished_at"])[:19], line["version"] or "none"
            rows.append(f"{line['iteration']:>9}  {when}  {line['target']:<24}  {what:<26}  {version:<8}  {rate}")
    return rows


def verdict(lines: Sequence[Mapping[str, Any]], targets: Sequence[str], planted: bool) -> list[str]:
    """What the circle did not do, a sentence each."""
    missed: list[str] = []
    for target in targets:
        rates = strength(lines, target)
        if not rates or max(rates) <= rates[0]:
            missed.append(f"{target}: nothing better than its first version came out of play")
    if planted and not any(line["reason"] in ("degraded", "hard_fault") for line in lines):
        missed.append("the weak version that was put into production was not rolled back")
    return missed


@contextmanager
def running(*commands: Sequence[str]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Programs beside each other; at the end each is asked to leave as by Ctrl+C, the last one first."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        started += [subprocess.Popen(command, start_new_session=True) for command in commands]
        yield started
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # pressed again it would leave some of them behind
        for process in reversed(started):
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # all that it started


def between_cycles(run_dir: Path, lines: Sequence[Mapping[str, Any]], now_s: float) -> bool:
    """Whether the present cycle's last lesson has just ended: the next one is then as far away as it can be."""
    try:
        cycle = json.loads((run_dir / CYCLE_NAME).read_bytes())
    except FileNotFoundError:
        return False
    ended = {line["target"]: line for line in lines if (line.get("lesson") or {}).get("cycle") == cycle["number"]}
    if not ended or any(lesson["target"] not in ended for lesson in cycle["lessons"]):
        return False
    last = max(datetime.fromisoformat(line["time"]["finished_at"]) for line in ended.values())
    return now_s - last.timestamp() < JUST_S


def plant(run_dir: Path, config: Path, target: str) -> bool:
    """Put the target's first version back into production, once; whether there is a better one to fall from."""
    every = lines_of(run_dir)
    lines = [line for line in every if line["target"] == target]
    first = next((line["version"] for line in lines if line["version"]), None)
    rates = strength(lines, target)
    if first is None or rates[-1] < rates[0] + 0.1 or not between_cycles(run_dir, every, time.time()):
        return False
    command = [str(INCUMBENT), "promote", target, first, "--run-dir", str(run_dir), "--config", str(config)]
    if subprocess.run(command, check=False).returncode:
        return False
    (run_dir / PLANTED_NAME).write_text(f"{target} {first}\n")
    return True


def watch(run_dir: Path, config: Path, targets: Sequence[str], seconds: float, processes: Sequence[Any]) -> None:
    began_s = time.monotonic()
    while (passed_s := time.monotonic() - began_s) < seconds:
        if any(process.poll() is not None for process in processes):
            return
        if passed_s > seconds / 2 and not (run_dir / PLANTED_NAME).exists():
            plant(run_dir, config, targets[0])
        time.sleep(1.0)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-dir", type=Path, default=Path("checkpoints-live"), help="folder of the run")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long to go on for")
    parser.add_argument("--targets", default=TARGETS, help="comma-separated keys")
    parser.add_argument("--rate", type=float, default=500.0, help="most steps of play per second")
    parser.add_argument("--interval", type=float, default=INTERVAL_S, help="seconds between looks for what was played")
    parser.add_argument("--port", type=int, default=8080, help="of the model server")
    given = parser.parse_args(arguments)
    run_dir: Path = given.run_dir
    run_dir.mkdir(parents=True, exist_ok=True)
    targets = given.targets.split(",")
    config = run_dir / CONFIG_NAME
    config.write_text(config_of(targets, given.port, given.interval))
    where = ["--run-dir", str(run_dir), "--config", str(config)]
    subprocess.run([str(ROOT / "tools" / "setup.sh")], check=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and so would these
    training = [str(ROOT / "tools" / "start_training.sh"), *where]
    playing = [str(INCUMBENT), "collect", "--live", "--targets", given.targets, "--rate", str(given.rate), *where]
    try:
        with running(training, playing) as processes:
            watch(run_dir, config, targets, 60 * given.minutes, processes)
    except KeyboardInterrupt:
        pass
    lines = lines_of(run_dir)
    print("\n".join(table(lines)))
    missed = verdict(lines, targets, (run_dir / PLANTED_NAME).exists())
    print("\n".join(missed) or "The circle closed: what was played made production better.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
