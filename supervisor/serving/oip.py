"""Inference in the Open Inference Protocol, version 2: JSON tensors, and the binary tensor data extension.

The JSON head of a binary request says nothing about the numbers in it, and a client sends the same one again and again:
what was understood of it is kept.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import orjson

from supervisor.contract import Json
from supervisor.serving.asked import BINARY_TYPE, Asked, Sent, Written
from supervisor.serving.errors import ApiError
from supervisor.serving.oip_tensors import DATATYPES, Tensor, datatype, numbers, read_head
from supervisor.serving.session import Arrays, Session

HEAD_LENGTH = b"inference-header-content-length"
KEPT_HEADS = 512
KEPT_BYTES = 4096
"""Longer heads are read anew each time."""


@dataclass(frozen=True)
class Wanted:
    """What the answer is to hold: output name to whether it is to be binary, in the order asked for."""

    outputs: Mapping[str, bool]
    id: str | None


@dataclass(frozen=True)
class Plan:
    """What a head asks for. `inputs` are all binary, one behind the other, where it may be kept."""

    inputs: Sequence[Tensor]
    rows: int
    wanted: Wanted
    timeout_s: float | None
    heads: dict[str, tuple[bytes, tuple[tuple[bytes, bytes], ...]]] = field(default_factory=dict)
    """By version: the answer's JSON and its length, where every output is binary."""

    @cached_property
    def binary_bytes(self) -> int:
        return sum(tensor.binary_bytes or 0 for tensor in self.inputs)


class Reader:
    """Reads requests for one loaded model, whose name is `archetype.model_type`."""

    def __init__(self, name: str, session: Session, max_rows: int) -> None:
        self._name, self._session, self._max_rows = name, session, max_rows
        self._kept: OrderedDict[bytes, Plan] = OrderedDict()

    def decode(self, sent: Sent) -> Asked:
        """Raises ApiError (400) with what is wrong."""
        given = sent.headers.get(HEAD_LENGTH)
        if given is None:
            plan = self._plan(sent.body, binary_bytes=0)
            return self._asked(plan, {tensor.name: numbers(tensor) for tensor in plan.inputs})
        length = int(given) if given.isdigit() and len(given) < 12 else -1
        if not 0 <= length <= len(sent.body):
            raise bad(f"Inference-Header-Content-Length is {given[:40]!r}; the body has {len(sent.body)} bytes")
        if length == 0:
            plan = self._bare(len(sent.body))
        else:
            head = sent.body[:length]
            plan = self._kept.get(head) or self._plan(head, len(sent.body) - length)
        if length + plan.binary_bytes != len(sent.body):
            raise bad(
                f"{len(sent.body) - length} bytes of binary data came, the JSON speaks of {plan.binary_bytes} bytes"
            )
        inputs, begin = {}, length
        for tensor in plan.inputs:
            if tensor.binary_bytes is None:
                inputs[tensor.name] = numbers(tensor)
            else:
                part = np.frombuffer(sent.body, tensor.kind, tensor.size, begin)
                inputs[tensor.name] = part.reshape(tensor.shape)
                begin += tensor.binary_bytes
        return self._asked(plan, inputs)

    def _asked(self, plan: Plan, inputs: Arrays) -> Asked:
        return Asked(inputs, plan.rows, partial(self._write, plan), plan.timeout_s, plan.wanted.id)

    def _plan(self, head: bytes, binary_bytes: int) -> Plan:
        asked = read_head(head, self._name, self._session, self._max_rows, binary_bytes)
        plan = Plan(asked.inputs, asked.rows, Wanted(asked.outputs, asked.id), asked.timeout_s)
        if binary_bytes and len(head) <= KEPT_BYTES and all(own.binary_bytes is not None for own in plan.inputs):
            self._kept[head] = plan
            if len(self._kept) > KEPT_HEADS:
                self._kept.popitem(last=False)
        return plan

    def _bare(self, size_bytes: int) -> Plan:
        """A raw binary request: the body is the only input, and the outputs are binary."""
        shapes = self._session.interface.inputs
        if len(shapes) != 1:
            raise bad(f"a raw binary request suits models of one input; '{self._name}' has {len(shapes)}")
        ((name, shape),) = shapes.items()
        kind = np.dtype(self._session.input_types[name]).newbyteorder("<")
        rows, rest = divmod(size_bytes, math.prod(shape[1:]) * kind.itemsize)
        if rest or not rows or rows > self._max_rows:
            raise bad(f"{size_bytes} bytes are not 1 to {self._max_rows} rows of input '{name}' {list(shape[1:])}")
        tensor = Tensor(name, (rows, *shape[1:]), kind, binary_bytes=size_bytes)
        return Plan([tensor], rows, Wanted(dict.fromkeys(self._session.interface.outputs, True), None), None)

    def _write(self, plan: Plan, version: str, outputs: Arrays) -> Written:
        wanted = plan.wanted.outputs
        kept = plan.heads.get(version)
        if kept is None:
            head = orjson.dumps(self._answer(plan, version, outputs), option=orjson.OPT_SERIALIZE_NUMPY)
            if not any(wanted.values()):
                return Written(head)
            kept = (head, ((HEAD_LENGTH, str(len(head)).encode()),))
            if all(wanted.values()):
                plan.heads.clear()  # of the version before
                plan.heads[version] = kept
        binary = [outputs[name].tobytes() for name, is_binary in wanted.items() if is_binary]
        return Written(b"".join((kept[0], *binary)), BINARY_TYPE, kept[1])

    def _answer(self, plan: Plan, version: str, outputs: Arrays) -> dict[str, Any]:
        answer: dict[str, Any] = {"model_name": self._name, "model_version": version}
        if plan.wanted.id:
            answer["id"] = plan.wanted.id
        answer["outputs"] = [
            {
                "name": name,
                "datatype": datatype(outputs[name].dtype),
                "shape": list(outputs[name].shape),
                **(
                    {"parameters": {"binary_data_size": outputs[name].nbytes}}
                    if is_binary
                    else {"data": np.ascontiguousarray(outputs[name], np.float32).ravel()}
                ),
            }
            for name, is_binary in plan.wanted.outputs.items()
        ]
        return answer


def metadata(name: str, versions: Sequence[str], session: Session) -> dict[str, Json]:
    """Of a model, as `GET /v2/models/{name}` tells it; -1 stands for the rows."""
    sides = {"inputs": session.interface.inputs, "outputs": session.interface.outputs}
    kind = DATATYPES[np.dtype(next(iter(session.input_types.values())))]
    tensors: dict[str, Json] = {
        side: [{"name": tensor, "datatype": kind, "shape": [-1, *shape[1:]]} for tensor, shape in shapes.items()]
        for side, shapes in sides.items()
    }
    return {"name": name, "versions": list(versions), "platform": "onnxruntime_onnx", **tensors}


def bad(message: str) -> ApiError:
    return ApiError(400, "bad_request", message)
