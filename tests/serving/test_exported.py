"""What the built-in trainer exports is what the server takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from supervisor.serving.leash import Leash
from supervisor.serving.session import build
from trainers import export
from trainers.networks.mlp import QNetwork


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("hidden", [[128, 128], [1024, 512, 256, 128, 64]])
def test_an_exported_network_is_served_and_answers_as_it_did(hidden: list[int], dueling: bool) -> None:
    network = QNetwork(64, hidden, 10, dueling=dueling).eval()
    exported = network.exported()
    session = build(export.onnx_bytes(exported), export.interface(exported), 256, Leash())
    states = np.random.default_rng(0).standard_normal((5, 64)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(states)).numpy()
    np.testing.assert_allclose(session.run({"state": states})["q_values"], expected, rtol=1e-3, atol=1e-4)
