"""What clients report of games, and showing requests to a version that is not live. As protected as administration."""

from __future__ import annotations

from supervisor.serving.openapi.orders import A_VERSION_IS_TAKEN_UP, WRITTEN_WRONG
from supervisor.serving.openapi.own import MODEL
from supervisor.serving.openapi.pieces import Described, answers, body, operation, ref, together
from supervisor.serving.openapi.schemas import COUNT, TEXT, VERSION, listed, or_null, record

NUMBER: Described = {"type": "number"}
SHARE: Described = {"type": "number", "minimum": 0, "maximum": 1}
MS: Described = {"type": ["number", "null"], "minimum": 0}


def paths() -> Described:
    return {
        "/outcome/{archetype}/{model_type}": {"post": _outcome()},
        "/shadow/{archetype}/{model_type}": {"post": _show(), "delete": _hide()},
    }


def _outcome() -> Described:
    one: Described = {"version": "v000001", "score": 1, "client_key": "player-7"}
    return operation(
        "outcome",
        "How games ended that a version played",
        answers("What of it counted; `tested`: for the test of a version that is watched.", "Counted"),
        together(
            WRITTEN_WRONG,
            {
                400: ["empty_body", "bad_outcome"],
                404: ["unknown_model", "unknown_version", "unknown_request"],
                503: ["not_loaded"],
            },
        ),
        takes=body("Outcome", {"one": {**one}, "many": {"outcomes": [{**one}, {"version": "v000001", "score": 0.5}]}}),
        parameters=MODEL,
        is_order=True,
        says_more="Outcomes may take a version out of production. What is unknown of many is ignored and named.",
    )


def _show() -> Described:
    errors = {
        400: ["empty_body", "bad_order"],
        404: ["unknown_model", "unknown_version"],
        409: ["rolled_back", "is_live", "unlike", "unknown_version", "wrong_hash"],
        503: ["not_loaded", "active_damaged"],
    }
    return operation(
        "shadow",
        "Show a version that is not live a share of the requests",
        answers("It is shown them from now on.", "Shadow"),
        together(WRITTEN_WRONG, errors, A_VERSION_IS_TAKEN_UP),
        takes=body("Show", {"aTenth": {"version": "v000002", "share": 0.1}}),
        parameters=MODEL,
        is_order=True,
        says_more="It answers nobody; `/models` says what it would have done.",
    )


def _hide() -> Described:
    return operation(
        "unshadow",
        "Show it no more",
        answers("What was seen of it.", "Hidden"),
        {404: ["unknown_model"]},
        parameters=MODEL,
        is_order=True,
    )


def schemas() -> Described:
    optional = ("version", "request_id", "client_key")
    one = {
        "version": {**or_null(VERSION), "description": "That played. This or `request_id`."},
        "request_id": {**or_null(TEXT), "description": "X-Request-Id, or the protocol's `id`, of one of its requests."},
        "score": {**SHARE, "description": "1 won, 0 lost."},
        "client_key": {**or_null(TEXT), "description": "X-Client-Key of its requests."},
    }
    return {
        "Outcome": {
            "anyOf": [
                record({**one}, optional=optional, closed=True),
                record({"outcomes": listed(ref("OneOutcome"), minItems=1, maxItems=1000)}, closed=True),
            ]
        },
        "OneOutcome": record({**one}, optional=optional, closed=True),
        "Counted": record({"accepted": COUNT, "tested": COUNT, "ignored": listed(ref("Ignored"))}),
        "Ignored": record({"index": COUNT, "code": TEXT, "message": TEXT}),
        "Show": record({"version": VERSION, "share": {**SHARE, "description": "Above 0."}}, ("share",), closed=True),
        "Shadow": _shadow(),
        "Hidden": record({"shadow": {"anyOf": [{"type": "null"}, ref("Shadow")]}}),
        "Monitoring": _monitoring(),
        "Tally": record({"outcomes": COUNT, "mean_score": or_null(NUMBER)}),
    }


def _shadow() -> Described:
    times: Described = dict.fromkeys(("p50_ms", "p95_ms", "live_p50_ms", "live_p95_ms"), MS)
    counts: Described = dict.fromkeys(("requests", "rows", "left_out", "failed"), COUNT)
    return record(
        {
            "version": VERSION,
            "share": SHARE,
            "since": {"type": "string", "format": "date-time"},
            **counts,
            "agreement": {**SHARE, "type": ["number", "null"], "description": "Share of equal choices."},
            "mean_difference": or_null(NUMBER),
            "largest_difference": or_null(NUMBER),
            "last_failure": or_null(TEXT),
            **times,
        }
    )


def _monitoring() -> Described:
    states = ["off", "watching", "stable", "undecided", "degraded", "faulty", "superseded", "rolled_back"]
    baseline = record({"version": VERSION, "games": COUNT, "mean_score": NUMBER})
    always: Described = {
        "state": {"enum": [*states]},
        "note": or_null(TEXT),
        "outcomes": COUNT,
        "mean_score": or_null(NUMBER),
        "baseline": {"anyOf": [{"type": "null"}, baseline], "description": "When it was last found stable."},
    }
    watched: Described = {
        "version": VERSION,
        "against": VERSION,
        "since": {"type": "string", "format": "date-time"},
        "elapsed_s": NUMBER,
        "window_s": NUMBER,
        "mode": {"enum": ["holdback", "canary"]},
        "share": {**SHARE, "description": "Of the clients that get the new version."},
        "pairs": COUNT,
        "loss": {**or_null(NUMBER), "description": "Of score per game, by the new version."},
        "evidence": {**NUMBER, "description": "Against it; `needed` proves."},
        "needed": NUMBER,
        "interval": {"anyOf": [{"type": "null"}, listed(NUMBER, minItems=2, maxItems=2)]},
        "before": ref("Tally"),
        "after": ref("Tally"),
        "faults": COUNT,
        "timed": COUNT,
        "last_fault": or_null(TEXT),
    }
    return record({**always, **watched}, optional=tuple(watched))
