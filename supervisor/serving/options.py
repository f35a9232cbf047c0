"""What the server is told at its start."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from supervisor.contract import TestPlan

ProviderAsked = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class ServerOptions:
    """Address, access and limits of one server."""

    host: str = "127.0.0.1"
    port: int = 8080
    admin_host: str = "127.0.0.1"  # of administration's own listener
    admin_port: int | None = None  # None: administration is on the first listener
    token: str | None = field(default=None, repr=False)  # administration needs it unless bound to loopback
    max_body_kb: int = 1024  # of one request
    body_timeout_s: float = 10.0  # for a request's body to arrive whole; a slower one is answered 408
    max_rows: int = 256  # states in one request
    max_in_flight: int = 1024  # inferences that wait at a time; more are answered 503
    max_connections: int = 4096  # more are answered 503
    deadline_s: float = 5.0  # that an inference may wait to be run; later it is answered 504
    max_model_mb: int = 256  # of one model file
    load_timeout_s: float = 30.0  # for checking, building and probing one model
    provider: ProviderAsked = "auto"  # what models run on: see provider.choose
    vram_fraction: float = 0.7  # of the GPU's memory, for all models together
    drain_s: float = 10.0  # for answering what is in flight when asked to stop


@dataclass(frozen=True)
class WatchOptions:
    """How a version that goes live is watched; `config.settings.WatchSettings` says what each means."""

    enabled: bool = True
    window_s: float = 1800.0
    holdback: float = 0.1
    canary: float | None = None
    tolerance: float = 0.02
    alpha: float = 0.05
    beta: float = 0.2
    futility_effect: float = 0.03
    min_pairs: int = 20
    max_pairs: int = 3000
    settle_s: float = 300.0
    games_per_client: int = 5
    max_faults: int = 3
    max_latency_ms: float = 50.0
    rollback_on_degradation: bool = True

    @property
    def share_new(self) -> float:
        """Of the clients that name themselves: how many get the new version."""
        return 1.0 - self.holdback if self.canary is None else self.canary

    def test(self) -> TestPlan:
        """DESIGN 8's paired test with the roles swapped: it "promotes" the version before where the new one is worse by
        more than the tolerance."""
        return TestPlan(
            alpha=self.alpha,
            beta=self.beta,
            min_improvement=self.tolerance,
            futility_effect=self.futility_effect,
            evidence_threshold=1 / self.alpha,
            max_pairs=self.max_pairs,
        )
