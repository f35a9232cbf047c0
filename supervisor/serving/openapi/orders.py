"""Administration in the server's own form. Where `serving.admin_port` is set it is on that listener alone."""

from __future__ import annotations

from supervisor.serving.openapi.codes import VERDICTS
from supervisor.serving.openapi.own import MODEL
from supervisor.serving.openapi.pieces import READ_AS_JSON, Codes, Described, answers, body, operation, together

WRITTEN_WRONG: Codes = {400: READ_AS_JSON}
A_VERSION_IS_TAKEN_UP: Codes = {422: [*VERDICTS], 503: ["unreadable", "log_unreadable"]}


def paths() -> Described:
    return {
        "/reload/{archetype}/{model_type}": {"post": _reload()},
        "/rollback/{archetype}/{model_type}": {"post": _rollback()},
    }


def _reload() -> Described:
    errors = {
        404: ["not_active", "unknown_version"],
        409: ["rolled_back", "unknown_version", "wrong_hash"],
        503: ["active_damaged"],
    }
    return operation(
        "reload",
        "Take up the version that active.json names, or a named one",
        answers("That version is live; `changed` says whether it was not before.", "Swap"),
        together(WRITTEN_WRONG, errors, A_VERSION_IS_TAKEN_UP),
        takes=body("Reload", {"aVersion": {"version": "v000001"}, "theActiveOne": {}}, required=False),
        parameters=MODEL,
        is_order=True,
        says_more="The supervisor does so by itself.",
    )


def _rollback() -> Described:
    errors = {404: ["unknown_model"], 409: ["not_live", "no_way_back"], 503: ["not_loaded", "not_written"]}
    return operation(
        "rollback",
        "Take the live version out of production for good, and serve the one before it",
        answers("The one before is live.", "Swap"),
        together(WRITTEN_WRONG, errors, A_VERSION_IS_TAKEN_UP),
        takes=body("Rollback", {"once": {"version": "v000001", "reason": "it runs into walls"}}, required=False),
        parameters=MODEL,
        is_order=True,
        says_more="With a version it is done once, however often it is asked for. The supervisor follows.",
    )
