"""A trial's share of the GPU's memory reaches torch, and costs nothing where torch does not use the GPU."""

import torch

from trainers.gpu_share import SHARE_NAME, keep_to_share


def test_torch_is_told_the_share_at_its_first_use_of_the_gpu(monkeypatch):
    told = []
    monkeypatch.setattr(torch.cuda, "_queued_calls", [])
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", told.append)
    keep_to_share()
    assert torch.cuda._queued_calls == []
    monkeypatch.setenv(SHARE_NAME, "0.15")
    keep_to_share()
    assert not torch.cuda.is_initialized()
    [(call, _)] = torch.cuda._queued_calls
    call()
    assert told == [0.15]


def test_the_name_is_the_executors():
    from supervisor.execution import child

    assert child.VRAM_NAME == SHARE_NAME
