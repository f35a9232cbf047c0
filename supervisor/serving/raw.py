"""The barest form: the body is the rows of the only input, little-endian float32, and so is the answer's its first
output. No JSON is read or written.
"""

from __future__ import annotations

import math

import numpy as np

from supervisor.serving.asked import BINARY_TYPE, Asked, Sent, Written
from supervisor.serving.errors import ApiError
from supervisor.serving.session import Arrays, Session

NUMBER = np.dtype("<f4")


def decode(sent: Sent, session: Session, max_rows: int) -> Asked:
    """Raises ApiError (400) where the body is not a whole number of rows, or the model takes several inputs."""
    inputs = session.interface.inputs
    if len(inputs) != 1:
        raise ApiError(400, "wrong_inputs", f"this model has the inputs {sorted(inputs)}; binary rows suit one alone")
    ((name, shape),) = inputs.items()
    width = math.prod(shape[1:])
    rows, rest = divmod(len(sent.body), width * NUMBER.itemsize)
    if rest or not rows:
        wanted = f"{width * NUMBER.itemsize} bytes, {width} little-endian float32"
        raise ApiError(400, "wrong_shape", f"the body has {len(sent.body)} bytes; a row of {name} has {wanted}")
    if rows > max_rows:
        raise ApiError(400, "too_many_rows", f"{rows} rows, at most {max_rows} in one request")
    values = np.frombuffer(sent.body, NUMBER).reshape(rows, *shape[1:])
    return Asked({name: values.astype(session.input_types[name], copy=False)}, rows, write)


def write(version: str, outputs: Arrays) -> Written:
    first = next(iter(outputs.values()))
    return Written(first.astype(NUMBER, copy=False).tobytes(), BINARY_TYPE, ((b"x-model-version", version.encode()),))
