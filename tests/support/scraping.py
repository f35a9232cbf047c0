"""What Prometheus would read from a port, and where a run says which port that is."""

from __future__ import annotations

import re
import socket
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

SAID = re.compile(r"metrics on http://127\.0\.0\.1:(\d+)/metrics")


def read(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/plain; version=")
        return answer.read().decode()


def samples(text: str) -> dict[str, float]:
    """By name and labels as they are written: `incumbent_win_rate{target="mage/noop"}`."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            key = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert key not in found, key
            found[key] = sample.value
    return found


def scrape(port: int) -> dict[str, float]:
    return samples(read(port))


def port_said(console: str) -> int:
    """The port of the last start on this console."""
    return int(SAID.findall(console)[-1])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
