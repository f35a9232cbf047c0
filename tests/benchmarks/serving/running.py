"""A server under measurement: its port and its processes."""

from __future__ import annotations

import contextlib
import http.client
from dataclasses import dataclass

import numpy as np
import psutil

from tests.benchmarks.serving import subject
from tests.benchmarks.serving.form import Form
from tests.support.foreign_server import NotAnsweredError


@dataclass(frozen=True)
class Running:
    port: int
    pid: int

    def pids(self) -> list[int]:
        """The server's process and all below it."""
        parent = psutil.Process(self.pid)
        return [self.pid, *(child.pid for child in parent.children(recursive=True))]

    def rss_mb(self) -> float:
        """Of all processes together; pages that they share count for each."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += psutil.Process(pid).memory_info().rss
        return total / 1e6

    def check(self, form: Form, target: str, rows: int) -> None:
        """One request. Raises NotAnsweredError unless the answer is what session.run says."""
        states = subject.states(rows)
        headers, body = form.encode(states)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", form.at(target), body, headers)
            response = connection.getresponse()
            answer, names = response.read(), {name.lower(): value for name, value in response.getheaders()}
        except (OSError, http.client.HTTPException) as error:
            raise NotAnsweredError(f"not answered: {error!r}") from error
        finally:
            connection.close()
        if response.status != 200:
            text = " ".join(answer.decode(errors="replace").split())
            raise NotAnsweredError(f"not answered: {response.status} {text[:160]}")
        try:
            got = form.decode(names, answer)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise NotAnsweredError(f"answered, but not in this form ({error!r}): {answer[:120]!r}") from error
        expected = subject.answers(states)
        if got.shape != expected.shape or not np.allclose(got, expected, rtol=0, atol=subject.TOLERANCE):
            raise NotAnsweredError(f"answered wrongly: {got.ravel()[:3]} where session.run says {expected.ravel()[:3]}")
