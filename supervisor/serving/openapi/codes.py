"""What the codes of errors mean. Scripts may rely on them; the sentence that comes with one says more."""

from __future__ import annotations

from collections.abc import Mapping

REQUESTS: Mapping[str, str] = {
    "not_http": "no HTTP that the server understands",
    "head_timeout": "the head of the request did not come in time",
    "head_too_large": "the head of the request is too large",
    "too_many_connections": "so many are connected already",
    "not_found": "there is no such route",
    "method_not_allowed": "the route does not take this method",
    "internal_error": "a fault of the server, whose console says more",
    "client_gone": "the client left before its request was whole",
    "body_timeout": "the body did not come in time",
    "body_too_large": "the body is larger than serving.max_body_kb, or experience.max_body_kb, unpacked",
    "unsupported_encoding": "packed in another way than gzip or deflate",
    "broken_encoding": "not whole and valid gzip or deflate",
    "empty_body": "a body is needed",
    "broken_json": "the body is no JSON",
    "bad_request": "not as the protocol has it, or not as the model takes it",
    "wrong_type": "a value is of another type",
    "unknown_field": "a field that is not known",
}
INFERENCES: Mapping[str, str] = {
    "wrong_inputs": "not exactly the inputs that the model takes",
    "wrong_shape": "an input has another shape than the model takes",
    "too_many_rows": "more rows than serving.max_rows",
    "not_a_number": "something else where a number must be",
    "not_finite": "a number that is not finite",
    "unknown_model": "no such model is known",
    "not_loaded": "the model is known, and none of its versions is loaded",
    "not_ready": "no model is loaded",
    "output_not_finite": "the model's answer to this input is not finite",
    "model_failed": "the model failed on this input",
    "overloaded": "too many inferences wait",
    "too_late": "it waited longer than it was to",
}
ORDERS: Mapping[str, str] = {
    "unauthorized": "the bearer token is missing or wrong",
    "cross_origin": "a web page asked",
    "forwarded": "a proxy asked, without the bearer token",
    "wrong_host": "asked for by a name that is not this machine's alone, without the bearer token",
    "not_here": "administration has a listener of its own",
    "not_active": "no version of it is active",
    "unknown_version": "log and snapshot do not know that version, or it is not loaded",
    "rolled_back": "that version was rolled back and never comes back",
    "wrong_hash": "active.json names another model file for that version than the log",
    "not_live": "another version is live",
    "no_way_back": "there is no version before it",
    "bad_outcome": "a report that says no outcome; each mistake is named",
    "unknown_request": "no request of that id is remembered, or its outcome was told before",
    "bad_order": "not what the order takes; each mistake is named",
    "is_live": "that version is live",
    "unlike": "that version has other inputs or outputs than what is live",
    "not_written": "the rollback could not be written down, so it was not done",
    "active_damaged": "active.json is damaged",
    "log_unreadable": "the log cannot be read just now",
    "unreadable": "a file cannot be read just now",
}
EXPERIENCES: Mapping[str, str] = {
    "not_accepted": "this server takes no experiences",
    "key_too_long": "a key of more than 128 characters",
    "unsupported_type": "a Content-Type that is none of those described",
    "unreadable": "nothing in the body could be read as an experience",
    "too_many_experiences": "more rows than experience.max_waiting_rows",
    "no_room": "so many rows wait to be stored already",
    "store_down": "the experience store cannot be written now",
}
VERDICTS: Mapping[str, str] = {
    "no_model_file": "the version is a configuration without a model file",
    "missing_file": "its model file is gone",
    "damaged": "its model file is not the one that was registered, or is damaged",
    "too_large": "its model file is too large",
    "not_onnx": "no ONNX, or damaged",
    "external_data": "weights in another file",
    "unknown_operator": "an operator that is not served",
    "sparse_weights": "sparse weights",
    "element_type": "numbers of a type that is not served",
    "shapes": "shapes that do not fit together, or cannot be told beforehand",
    "interface": "other inputs or outputs than registered",
    "not_loadable": "the runtime does not load it",
    "too_slow": "it was not loaded and probed in time",
    "probe_failed": "it failed on the probe",
    "not_finite": "its weights or its answers to the probe are not finite",
    "inconsistent": "it answers a batch otherwise than its rows one by one",
}
"""Why a version is not taken up (422); whatever was live stays live."""

SAYS: Mapping[str, str] = {**VERDICTS, **REQUESTS, **INFERENCES, **ORDERS, **EXPERIENCES}
