"""The model for Triton's Python backend; runs in the interpreter that Triton starts."""

import json

import numpy as np
import onnxruntime
import triton_python_backend_utils as triton


class TritonPythonModel:
    def initialize(self, args):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = json.loads(args["model_config"])["parameters"]["onnx_file"]["string_value"]
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def execute(self, requests):
        """What Triton gathered meanwhile runs as one batch."""
        states = [triton.get_input_tensor_by_name(request, "state").as_numpy() for request in requests]
        values = self.session.run(None, {"state": states[0] if len(states) == 1 else np.concatenate(states)})[0]
        ends = np.cumsum([len(each) for each in states])[:-1]
        parts = [values] if len(states) == 1 else np.split(values, ends)
        return [triton.InferenceResponse([triton.Tensor("q_values", part)]) for part in parts]
