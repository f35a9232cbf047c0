"""The command line of the serving benchmark; see the package's first lines."""

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
from pathlib import Path

import onnxruntime

from tests.benchmarks.serving.bench import Bench
from tests.benchmarks.serving.peers import PEERS
from tests.benchmarks.serving.subject import HIDDEN
from tests.benchmarks.serving.table import heading
from tests.benchmarks.serving.targets import same_form, targets

SIDES = ("generator", "ours", "models", *(peer.name for peer in PEERS))


def _names(text: str) -> frozenset[str]:
    names = frozenset(text.split(","))
    if unknown := names - set(SIDES):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not among {', '.join(SIDES)}")
    return names


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Requests a second and CPU per request, side by side with other servers."
    )
    parser.add_argument("--seconds", type=float, help="of each measurement; 3, or 1 with --quick")
    parser.add_argument("--tries", type=int, default=3, help="of a measurement that other programs disturb")
    parser.add_argument("--connections", type=_numbers, help="kept-alive; 1,16,64,256, or 1,64 with --quick")
    parser.add_argument("--only", type=_names, default=frozenset(), help=f"some of {','.join(SIDES)}")
    parser.add_argument("--peers", type=Path, help="folder that --install-peers filled")
    parser.add_argument("--quick", action="store_true", help="short, and at few numbers of connections")
    parser.add_argument("--install-peers", type=Path, metavar="DIR", help="install the peers there, and end")
    return parser.parse_args()


def _install(folder: Path, only: frozenset[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for peer in PEERS:
        if only and peer.name not in only:
            continue
        print(f"{peer.title}: {' '.join(peer.requirements)}", flush=True)
        try:
            peer.install(folder)
        except subprocess.CalledProcessError as error:
            print(f"{peer.title}: not installed, {error}")


def main() -> None:
    arguments = _arguments()
    if arguments.install_peers:
        _install(arguments.install_peers, arguments.only)
        return
    seconds = arguments.seconds or (1.0 if arguments.quick else 3.0)
    connections = arguments.connections or ([1, 64] if arguments.quick else [1, 16, 64, 256])
    now = datetime.datetime.now(datetime.UTC).isoformat(sep=" ", timespec="minutes")
    print(f"{now}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before, onnxruntime {onnxruntime.__version__}")
    print(f"model of 64-{HIDDEN}-10 floats, one thread; {seconds:g} s each; RSS: all processes, after the load")
    print("others: cores that other programs took meanwhile; where much, of --tries the least disturbed is shown")
    print("*: the generator was busy nearly all the time, the server could do more\n")
    print(heading())
    bench = Bench(seconds, connections, arguments.only, arguments.peers, arguments.tries)
    bench.run()
    print(f"\nload {os.getloadavg()[0]:.1f} after; {bench.table.disturbed()}\n\nTargets of issue 5:")
    for target in targets(bench.table, bench.extra, bench.typical):
        print(target)
    print(f"\nIn the same form, batch 1, {bench.typical} connections:")
    for line in same_form(bench.table, bench.typical):
        print(line)


if __name__ == "__main__":
    main()
