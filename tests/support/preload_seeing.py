"""Writes down which GPUs a module that the fork server imports may see."""

import json
import os
from pathlib import Path

NAME = "TEST_PRELOAD_SEEN"
NAMES = ("CUDA_VISIBLE_DEVICES", "PYTORCH_NVML_BASED_CUDA_CHECK")

if NAME in os.environ:
    Path(os.environ[NAME]).write_text(json.dumps({name: os.environ.get(name) for name in NAMES}))
