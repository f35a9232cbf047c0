"""Gaussian-process proposals in a process of their own: Optuna's GP sampler imports torch, the supervisor never does.

One JSON object a line each way. The process keeps nothing between two questions; it ends when its input does.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import FrozenTrial, TrialState

from supervisor.contract import Scalar
from supervisor.errors import TryAgainError

NEWEST_LINES = 1000  # the model's cost grows with the cube of the trials it is fitted to
CHILD = "supervisor.search.samplers.gp_child"
ANSWER_LIMIT_S = 600.0  # the longest seen was a minute, for all the lines it is given, on a busy machine
TURN_S = 1.0


class GpProcess:
    """The supervisor's end. The process is started at the first draw.

    `meanwhile` is called about once a second while it thinks; what it raises ends the draw, with the process.
    """

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._meanwhile = meanwhile

    def draw(
        self, trials: Sequence[FrozenTrial], known: Mapping[str, BaseDistribution], seed: int
    ) -> dict[str, Scalar]:
        """The proposal. A process that was lost, or thinks for too long, is started anew once; it answers the same.

        Raises TryAgainError when it is lost again, or cannot be made.
        """
        complete = [trial for trial in trials if trial.state is TrialState.COMPLETE][-NEWEST_LINES:]
        question = json.dumps(
            {
                "seed": seed,
                "distributions": {name: distribution_to_json(item) for name, item in known.items()},
                "trials": [{"params": trial.params, "value": trial.value} for trial in complete],
            }
        )
        for _ in range(2):
            answer = self._ask(question)
            if answer is not None:
                return answer
            self.close()
        raise TryAgainError(
            "sampler gp: its helper process gave no answer twice (out of memory?); choose another"
            " search.sampler if it goes on"
        )

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                _close_pipe(pipe)
        process.kill()
        process.wait()

    def _ask(self, question: str) -> dict[str, Scalar] | None:
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(question.encode() + b"\n")
            process.stdin.flush()
            if not self._has_answered(process.stdout):
                return None
            answer: dict[str, Scalar] = json.loads(process.stdout.readline())
        except (OSError, ValueError):
            return None
        except BaseException:
            self.close()  # half-way through a question it is good for nothing
            raise
        return answer

    def _has_answered(self, answers: IO[bytes]) -> bool:
        """Wait in turns, so that the loop's own care goes on; False when it takes longer than anything sensible."""
        for _ in range(round(ANSWER_LIMIT_S / TURN_S)):
            if select.select([answers], [], [], TURN_S)[0]:
                return True
            self._meanwhile()
        return False

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            # one thread: two threads add in another order and give other bits; own session: Ctrl+C is the supervisor's
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", CHILD],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    start_new_session=True,
                    env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
                )
            except OSError as error:
                raise TryAgainError(
                    f"sampler gp: its helper process cannot be made: {error.strerror}; look for too many processes or"
                    " too little memory (ulimit -u), then start again"
                ) from error
        return self._process


def _close_pipe(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except OSError:  # what was not written yet has no reader any more
        return
