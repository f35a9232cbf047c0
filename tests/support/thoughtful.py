"""In the place of `gp_child`: thinks about its first question for ever, and answers every later process's at once."""

import json
import os
import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.stdin.readline()
    marker = Path(os.environ["THOUGHTFUL_MARKER"])
    if not marker.exists():
        marker.write_text(str(os.getpid()))
        while True:
            signal.pause()
    print(json.dumps({"x": 0.5}), flush=True)
