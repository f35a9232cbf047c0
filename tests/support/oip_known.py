"""Where our server answers otherwise than Triton, and means to. Everything else that differs is a fault."""

from __future__ import annotations

from tests.support.oip_comparing import Known

_REFUSED = "numbers that no game state has would give actions that mean nothing; Triton runs them"
_NOT_LISTED = "an extension that the server metadata do not list; tritonclient asks for it on demand only"
_CONFIG = "what the configuration does not name is not there; no stock client needs it to infer"
_UNLOADED = "the model is known and may be back: 503 with Retry-After, which Triton too says where a version is named"
_UNKNOWN = "what is not there is 404 everywhere; clients take any 4xx for not ready"
_FORMS = "taken where it says clearly what is meant"
_UNNAMED = """
    runtime batch_input batch_output cc_model_filenames default_model_filename metric_tags model_warmup optimization
    parameters *put.?.is_shape_tensor *put.?.is_non_linear_format_io output.?.label_filename
    input.?.allow_ragged_batch input.?.format input.?.optional instance_group.0.gpus instance_group.0.host_policy
    instance_group.0.passive instance_group.0.profile instance_group.0.secondary_devices
    dynamic_batching.default_priority_level dynamic_batching.preferred_batch_size dynamic_batching.preserve_ordering
    dynamic_batching.priority_levels dynamic_batching.priority_queue_policy
""".split()  # noqa: SIM905 - a list of quoted names would be as long as the table

TABLE = (
    # names
    Known("server metadata", "json.name: triton / incumbent", "our own name"),
    Known("server metadata", "json.version: * / *", "our own version"),
    Known("server metadata", "json.extensions*", "fewer of them, and only those that are there"),
    Known("*", "json.platform: * / onnxruntime_onnx", "Triton's Python backend ran the comparison"),
    Known("*configuration*", "json.backend: python / onnxruntime", "Triton's Python backend ran the comparison"),
    Known("*configuration*", "json.version_policy.latest.num_versions: 1 / 2", "the version before stays warm"),
    Known("*configuration*", "json.instance_group.0.name: * / *", "there is one instance, named as its model"),
    *(Known("*configuration*", f"json.{key}: * / -", _CONFIG) for key in _UNNAMED),
    # headers
    Known("*", "content_type: text/plain / application/json", "an error is JSON and says so"),
    Known("*answer may be*", "packing: * / -", "a few hundred bytes on one machine: packing costs more than it saves"),
    # what the client did wrong
    Known("*", "status: 500 / 400", "the fault is the client's: 400, as the protocol says; 500 would have it retried"),
    Known("unknown packing", "status: 501 / 415", "the fault is the client's"),
    Known("*unknown * ready", "status: 400 / 404", _UNKNOWN),
    Known("statistics of an unknown *", "status: 400 / 404", _UNKNOWN),
    Known("*load an unknown model", "status: 500 / 404", _UNKNOWN),
    Known("unload an unknown model", "status: 200 / 404", _UNKNOWN),
    Known("generate", "status: 400 / 404", _NOT_LISTED),
    Known("shared memory", "status: 200 / 404", _NOT_LISTED),
    Known("CUDA's shared memory", "status: 200 / 404", _NOT_LISTED),
    Known("tracing", "status: 200 / 404", _NOT_LISTED),
    Known("logging", "status: 200 / 404", _NOT_LISTED),
    Known("classification", "status: 200 / 400", _NOT_LISTED),
    Known("NaN in *", "status: 200 / 400", _REFUSED),
    Known("Infinity in JSON", "status: 200 / 400", _REFUSED),
    Known("a number beyond single precision", "status: 200 / 400", _REFUSED),
    Known("nested in part", "status: 200 / 400", "whoever nests unevenly has lost or doubled something"),
    Known("nested too deeply", "status: 200 / 400", "the nesting says another shape than the shape"),
    Known("not UTF-8", "status: 200 / 400", "JSON is UTF-8; Triton's answer to it is no JSON either"),
    Known("gzip that ends too early", "status: 200 / 400", "what is not whole may be another state"),
    # what we take and Triton does not
    Known("half precision as JSON", "status: 400 / 200", "JSON numbers say a half as well as a single"),
    Known("half precision out as JSON", "status: 400 / 200", "JSON numbers say a half as well as a single"),
    Known("raw binary of three rows", "status: 400 / 200", "the body's length says how many rows"),
    Known("id is null", "status: 500 / 200", _FORMS),
    Known("parameters* are null", "status: 500 / 200", _FORMS),
    Known("outputs are null", "status: 500 / 200", _FORMS),
    Known("a parameter is *", "status: 400 / 200", "parameters that nothing here heeds are not looked at"),
    # where the protocol leaves it open
    Known("a key twice", "json.id: a / b", "JSON leaves open which of them counts"),
    Known("outputs in another order", "json.outputs.*", "in the order asked for, not the model's; clients go by name"),
    # models that come and go
    Known("unloaded: *", "status: 40? / 503", _UNLOADED),
    Known("unloaded: repository index", "json.1.reason: unloaded / it was unloaded", "a sentence for people"),
    Known("statistics after *", "json.model_stats.0.batch_stats.length: 1 / 0", "batches are not counted by size"),
)
