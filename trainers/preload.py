"""Imported once by the fork server, so that a trial starts with everything slow already in memory.

Much of torch is imported at its first use, so the first uses are made here: a network, an optimizer's step, an export,
a tick of the arena, a spec read. No thread may be running at a fork: one torch thread, no backward pass (its engine
starts threads where there is a GPU, and refuses to work in a fork then), and no onnxruntime, which starts one when
imported.
"""

from __future__ import annotations

import numpy as np
import torch
import torch._dynamo
from torch import nn

from supervisor.contract import TrialSpec, as_json, parse
from trainers import arena_target, weights, worker  # noqa: F401 - the fork server's trials run them
from trainers.arena.arena import Arena
from trainers.catalogue import CATALOGUE, model_type
from trainers.export import onnx_bytes
from trainers.networks.mlp import QNetwork
from trainers.single import single_spec

ROWS = 8


def _warm_up() -> None:
    torch.manual_seed(0)
    network = QNetwork(64, (16, 16), 10)
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    with torch.no_grad():
        nn.functional.smooth_l1_loss(network(torch.zeros(ROWS, 64)), torch.zeros(ROWS, 10))
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    nn.utils.clip_grad_norm_(network.parameters(), 1.0, foreach=True)
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    onnx_bytes(network.exported())
    weights.unpack(weights.pack(network.state_dict()))
    arena = Arena(ROWS, "aggressive", 1)
    arena.start(np.arange(ROWS))
    arena.step(np.zeros(ROWS, np.int64))
    parse(TrialSpec, as_json(single_spec("aggressive/combat_dqn", 1, {}, 1, 0)))


torch.set_num_threads(1)
for name in CATALOGUE:
    model_type(name)
_warm_up()
