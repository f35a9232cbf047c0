"""Trials that a start finds in flight, and whose training would not go on bit by bit: it starts over, once."""

from __future__ import annotations

from supervisor.contract import Json
from supervisor.execution.device import starts_over
from supervisor.flight import Flight
from supervisor.parts import Parts
from supervisor.versions import changed_versions


def start_over_where_it_must(flight: Flight, parts: Parts) -> None:
    """A paired test goes on in any case: its candidate is built, and its games count whatever plays the rest."""
    _under_other_versions(flight, parts)
    _on_another_device(flight, parts)


def _under_other_versions(flight: Flight, parts: Parts) -> None:
    """Of the libraries."""
    now: dict[str, Json] = {**parts.versions}
    if flight.trained_under == now or flight.stage_done:
        return
    flight.folder.forget_resume_point()
    flight.folder.add_fact("versions", versions=now)
    trial = f"iteration {flight.spec.iteration} was begun with other library versions"
    changed = changed_versions(flight.trained_under, now)
    if flight.stage == "build":
        parts.events.write("trial_restarted", f"{trial} and starts from step 0 ({changed})")
    else:
        what = "the candidate stays as it was built, and its paired test goes on from the games that are played"
        parts.events.write("trial_continued", f"{trial}: {what} ({changed})")


def _on_another_device(flight: Flight, parts: Parts) -> None:
    """Somebody has said since that the target's trials are to compute on another kind of device."""
    definition = parts.definitions.get(flight.spec.target)
    began_on = flight.spec.device
    if definition is None or flight.stage_done or not starts_over(began_on, definition.device):
        return
    if flight.stage == "build":
        flight.start_over_on(definition.device)
        parts.events.write(
            "trial_restarted",
            f"iteration {flight.spec.iteration} was to compute on {began_on} and starts from step 0 on"
            f" {definition.device} (targets.{flight.spec.target}.device)",
        )
