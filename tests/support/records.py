"""Log lines for tests: complete, valid, and different where a test wants them to be."""

from __future__ import annotations

from dataclasses import replace

from supervisor.contract import Decision, Interface, Outcome, Reason, Status, Tally
from supervisor.record import Record

INTERFACE = Interface({"state": (0, 64)}, {"q_values": (0, 10)})


def make_record(iteration: int, target: str = "aggressive/combat_dqn", **changes: object) -> Record:
    """A search trial that was rejected after the screen."""
    archetype, model_type = target.split("/")
    record = Record(
        run_id="run",
        iteration=iteration,
        target=target,
        archetype=archetype,
        model_type=model_type,
        study=target,
        trial=iteration - 1,
        sampler="random",
        purpose="search",
        seed=iteration * 1000,
        level=1,
        params={"a": 0.5, "b": iteration},
        changed=("a",),
        status=Status.COMPLETE,
        reason=Reason.BELOW_SCREEN,
        games=60,
        wins=14,
        draws=2,
        losses=14,
        win_rate=0.5,
        best_win_rate=0.5,
        improvement=0.0,
        delta=-0.01,
        promoted=False,
        version=None,
        model_sha256="0" * 64,
        weights_sha256=None,
        steps=100,
        decision=Decision("none", Outcome.REJECT, Reason.BELOW_SCREEN),
        frequency="high",
        pool=Tally(25, 0, 25),
        time={"duration_s": 1.5},
    )
    return replace(record, **changes)  # type: ignore[arg-type]


def make_promotion(iteration: int, target: str = "aggressive/combat_dqn", **changes: object) -> Record:
    """A trial whose candidate became the incumbent."""
    sha256 = f"{iteration:064x}"
    return make_record(
        iteration,
        target,
        **{
            "promoted": True,
            "reason": Reason.PROVEN,
            "version": f"v{iteration:06d}",
            "model_sha256": sha256,
            "weights_sha256": sha256,
            "interface": INTERFACE,
            "improvement": 0.04,
            "decision": Decision("paired_e", Outcome.PROMOTE, Reason.PROVEN, 0.05, 400, 25.0, 0.06, 0.01, 0.11, 0.2),
            "pool": Tally(110, 0, 90),
            "best_win_rate": 0.55,
            **changes,
        },
    )
