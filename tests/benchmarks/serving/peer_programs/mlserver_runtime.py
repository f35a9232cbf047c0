"""The model as an MLServer runtime; runs in MLServer's own environment."""

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class OnnxModel(MLModel):
    async def load(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = self.settings.parameters.uri
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload):
        states = NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32, copy=False)
        values = self.session.run(None, {"state": states})[0]
        output = NumpyCodec.encode_output("q_values", values)
        return InferenceResponse(model_name=self.name, outputs=[output])
