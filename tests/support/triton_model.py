"""The model for Triton's Python backend; runs in the interpreter that Triton starts."""

from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as triton


class TritonPythonModel:
    def initialize(self, args):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        file = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self.session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.outputs = [value.name for value in self.session.get_outputs()]

    def execute(self, requests):
        """What Triton gathered meanwhile runs as one batch."""
        given = [self._arrays(request) for request in requests]
        joined = (
            given[0]
            if len(given) == 1
            else {name: np.concatenate([own[name] for own in given]) for name in self.inputs}
        )
        values = self.session.run(None, joined)
        ends = np.cumsum([len(own[self.inputs[0]]) for own in given])[:-1]
        parts = [[value] if len(given) == 1 else np.split(value, ends) for value in values]
        return [
            triton.InferenceResponse([triton.Tensor(*named) for named in zip(self.outputs, own, strict=True)])
            for own in zip(*parts, strict=True)
        ]

    def _arrays(self, request):
        return {name: triton.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs}

    def _joined(self, given):
        return {name: np.concatenate([own[name] for own in given]) for name in self.inputs}
