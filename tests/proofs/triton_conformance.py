"""Our answers in the Open Inference Protocol beside a real Triton's: the same exchanges with both, compared one by one.

python -m tests.benchmarks.serving --install-peers DIR --only triton
python -m tests.proofs.triton_conformance --peers DIR [--record tests/serving/triton_answers.json] [--differing]

Ends with 1 where they differ in what `tests/support/oip_known.py` does not give a reason for. What is recorded is what
`tests/serving/test_triton_conformance.py` holds us to where there is no Triton.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.support.foreign_server import NotAnsweredError
from tests.support.oip_comparing import Compared, compared, stale
from tests.support.oip_conformance import Recorded, answers_of
from tests.support.oip_known import TABLE
from tests.support.oip_sides import our_side, triton_side

NAME = 42
SIDE = 26


def show(found: Sequence[Compared], differing: bool) -> None:
    print(f"{'exchange':{NAME}} {'Triton':{SIDE}} {'ours':{SIDE}}")
    for each in found:
        if each.verdict == "same" and differing:
            continue
        print(f"{each.name[:NAME]:{NAME}} {each.triton[:SIDE]:{SIDE}} {each.ours[:SIDE]:{SIDE}} {each.verdict}")
        for difference in each.unknown:
            print(f"    {difference}")
    print("\nKnown differences, and why:")
    for entry in TABLE:
        count = sum(entry in each.known.values() for each in found)
        print(f"{count:4} x {entry.exchange[:30]:30} {entry.what:52} {entry.why}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, required=True, help="folder that the benchmark's --install-peers filled")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write Triton's answers there")
    parser.add_argument("--differing", action="store_true", help="leave out of the table what is the same")
    options = parser.parse_args()
    try:
        with triton_side(options.peers / "triton") as port:
            recorded = Recorded.of(answers_of(port))
    except NotAnsweredError as error:
        sys.exit(f"Triton: {error}")
    with tempfile.TemporaryDirectory() as scratch, our_side(Path(scratch) / "run") as port:
        ours = answers_of(port)
    found = [compared(name, own, ours[name], TABLE) for name, own in recorded.answers.items()]
    show(found, options.differing)
    old = stale(TABLE, found)
    for entry in old:
        print(f"known, and no difference any more: {entry.exchange}: {entry.what}")
    counts = Counter(each.verdict for each in found)
    verdicts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("same", "known", "DIFFERENT"))
    print(f"\nTriton {recorded.version}: {len(found)} exchanges, {verdicts}")
    if options.record:
        recorded.write(options.record)
    return 1 if counts["DIFFERENT"] or old else 0


if __name__ == "__main__":
    sys.exit(main())
