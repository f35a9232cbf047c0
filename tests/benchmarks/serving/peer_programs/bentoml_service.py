"""The model as a BentoML service; runs in BentoML's own environment. ONNX_FILE names the model."""

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1)
class Mlp:
    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = os.environ["ONNX_FILE"]
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    @bentoml.api
    def infer(self, state: np.ndarray) -> np.ndarray:
        return self.session.run(None, {"state": state.astype(np.float32, copy=False)})[0]
