"""One class for each thing an operator does differently; the exit code says which to scripts and units."""

from __future__ import annotations


class IncumbentError(Exception):
    """Something the operator must know. The message says what, where and what to do."""

    exit_code = 1


class UsageError(IncumbentError):
    """The command line asks for something that does not exist or does not fit together: correct the command."""

    exit_code = 2


class ConfigurationError(IncumbentError):
    """A configuration or search-space file is wrong: correct the file. Carries every mistake found, not the first."""

    exit_code = 3

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class LockHeldError(IncumbentError):
    """Another supervisor works in this run folder: use that one, or stop it."""

    exit_code = 4


class StorageUnreachableError(IncumbentError):
    """A database or disk does not answer: it is tried again by script and unit."""

    exit_code = 5


class DamagedStateError(IncumbentError):
    """What is on disk contradicts itself and no copy is left to recover from: the operator decides."""

    exit_code = 6


class TryAgainError(IncumbentError):
    """A passing fault (a failed fsync, say): leave at once, recovery starts from what is on disk."""

    exit_code = 75


class TrialError(Exception):
    """A trial ends without a result. `reason` is a code of the closed list, `detail` free text for `time.detail`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
