"""Entry of `incumbent` and `python -m supervisor`. Imports nothing heavy: a forkserver child imports it again."""

from __future__ import annotations

import sys


def main() -> None:
    from supervisor.cli import run_cli

    sys.exit(run_cli(sys.argv[1:]))


if __name__ == "__main__":
    main()
