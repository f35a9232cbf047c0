"""Whatever is sent: no fault of the server, nothing told of its insides, and it goes on answering."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from supervisor.serving.options import ServerOptions
from tests.support import onnx_models as models
from tests.support.fuzzing import Fuzzing
from tests.support.served_folder import TARGET, ServedFolder
from tests.support.server_process import ServerProcess

STATES = np.random.default_rng(3).standard_normal((4, models.STATE)).astype(np.float32)


@pytest.mark.parametrize("seed", [1, 2])
def test_odd_requests_are_answered_with_what_is_wrong_and_the_next_right_one_is_right(
    tmp_path: Path, seed: int
) -> None:
    folder = ServedFolder(tmp_path / "run")
    folder.promote(models.mlp(1))
    with ServerProcess(folder.path, ServerOptions(port=0, max_body_kb=256)) as server:
        fuzzing = Fuzzing(server.port, str(folder.path), seed)
        fuzzing.send(1500)
        assert set(fuzzing.statuses) >= {200, 400, 404, 405, 413}
        answer = server.post(f"/infer/{TARGET}", {"states": STATES.tolist()}).body
        np.testing.assert_allclose(answer["outputs"]["q_values"], models.mlp_values(1, STATES), rtol=1e-3, atol=1e-4)
