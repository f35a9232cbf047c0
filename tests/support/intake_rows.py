"""Rows as a game sends them, in every form of body."""

from __future__ import annotations

import json
from typing import Any

from supervisor.contract import Interface
from supervisor.experience.intake.form import Forms, form_of
from supervisor.experience.rows import Experiences
from tests.support.experiences import NOON_US, TARGET, WIDTH

NOW_US = NOON_US + 60_000_000
INTERFACE = Interface({"state": (0, WIDTH)}, {"q_values": (0, 10)})


def forms(interface: Interface | None = INTERFACE) -> Forms:
    """Of TARGET, with a model of this interface or without any."""
    form = None if interface is None else form_of(interface)
    return Forms([TARGET], lambda target: form if target == TARGET else None)


def row(**others: Any) -> dict[str, Any]:
    """A good one, but for what is said; None leaves a field out."""
    archetype, model_type = TARGET.split("/")
    whole = {
        "archetype": archetype,
        "model_type": model_type,
        "state": [0.5] * WIDTH,
        "action": 3,
        "reward": 1.0,
        "next_state": [0.25] * WIDTH,
        "done": False,
        **others,
    }
    return {name: value for name, value in whole.items() if value is not None}


def as_lines(rows: Experiences, target: str = TARGET) -> bytes:
    """The same rows as JSON lines; 32-bit numbers come back from JSON as they were."""
    archetype, model_type = target.split("/")
    return b"\n".join(
        json.dumps(
            {
                "archetype": archetype,
                "model_type": model_type,
                "state": rows.states[k].tolist(),
                "action": rows.controls[k].tolist() if rows.controls.shape[1] else rows.actions[k].item(),
                "reward": rows.rewards[k].item(),
                "next_state": rows.next_states[k].tolist(),
                "done": rows.done[k].item(),
                "priority": rows.priorities[k].item(),
                "episode": rows.episodes[k].item(),
                "step": rows.steps[k].item(),
                "version": rows.versions[k].item(),
                "timestamp": rows.times[k].item() / 1e6,
            }
        ).encode()
        for k in range(len(rows))
    )
