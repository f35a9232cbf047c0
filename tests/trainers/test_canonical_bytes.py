from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

WRITE = """
import hashlib, os, sys
os.chdir(sys.argv[1])
import torch
from trainers import weights
from trainers.export import onnx_bytes
from trainers.networks.mlp import QNetwork
torch.manual_seed(5)
network = QNetwork(64, (32, 16), 10, dueling=True)
data = {"final.pt": weights.pack({"network": network.state_dict(), "t": 7}),
        "model.onnx": onnx_bytes(network.exported())}
for name, content in data.items():
    print(name, hashlib.sha256(content).hexdigest())
"""


def test_the_same_weights_give_the_same_files_in_other_folders_processes_and_hash_seeds(tmp_path: Path) -> None:
    writers = []
    for number in range(2):
        folder = tmp_path / f"folder{number}" / ("deeper" * number)
        folder.mkdir(parents=True)
        environment = {**os.environ, "PYTHONHASHSEED": str(number), "PYTHONPATH": os.getcwd()}
        command = [sys.executable, "-c", WRITE, str(folder)]
        writers.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    said = [writer.communicate()[0] for writer in writers]
    assert said[0] == said[1]
    assert len(said[0].splitlines()) == 2
