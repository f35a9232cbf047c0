"""A device that is not the CPU, for learners, where there is no GPU: tensors on it compute with the CPU's kernels.

As on a real one, a tensor there and one on the CPU do not meet in an operation (numbers and indices excepted), and
numpy cannot see it. So a training on it comes to the CPU's very bits, or says which operation mixed the two. torch
knows the device as `meta`, whose autograd runs in the calling thread. What kernels of a real GPU do is not shown by it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from trainers.device import DEVICE_NAME

NAME = "meta"
CROSSING = frozenset({"_to_copy", "copy_", "_copy_from"})  # operations that may take tensors of both
INDEXING = frozenset({"index", "index_put", "index_put_", "_unsafe_index", "_index_put_impl_"})


class OnGpu(torch.Tensor):
    """A tensor on the pretended GPU; `inner` is where its numbers are."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> OnGpu:
        made = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=NAME,
        )
        made.inner = inner
        return made

    @property
    def data(self) -> torch.Tensor:
        return self.detach()

    @data.setter
    def data(self, given: OnGpu) -> None:
        self.inner = given.inner

    def tolist(self) -> Any:
        return self.inner.tolist()

    def __deepcopy__(self, memo: dict[int, Any]) -> OnGpu:
        copied = OnGpu(self.inner.detach().clone())
        return torch.nn.Parameter(copied, self.requires_grad) if isinstance(self, torch.nn.Parameter) else copied

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Mode(TorchDispatchMode):
    """Makes what is asked for on the device, without any tensor there yet."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = func.overloadpacket.__name__
    tensors: list[torch.Tensor] = []
    tree_map(lambda each: tensors.append(each) if isinstance(each, torch.Tensor) else None, (args, kwargs))
    on_gpu = any(isinstance(each, OnGpu) for each in tensors)
    given = kwargs.get("device")
    to_gpu = on_gpu if given is None else torch.device(given).type == NAME
    if not on_gpu and not to_gpu:
        return func(*args, **kwargs)
    if on_gpu and name not in CROSSING | INDEXING:
        strangers = [each for each in tensors if not isinstance(each, OnGpu) and each.dim() > 0]
        if strangers:
            raise RuntimeError(
                f"{func}: tensors on the CPU and on the GPU, {[tuple(each.shape) for each in strangers]}"
            )
    if given is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    kwargs = {key: value for key, value in kwargs.items() if key != "pin_memory"}
    known: dict[int, OnGpu] = {}

    def unwrapped(each: Any) -> Any:
        if isinstance(each, OnGpu):
            known[id(each.inner)] = each
            return each.inner
        return each

    def wrapped(each: Any) -> Any:
        if not isinstance(each, torch.Tensor) or isinstance(each, OnGpu):
            return each
        return known[id(each)] if id(each) in known else OnGpu(each)

    found = func(*tree_map(unwrapped, args), **tree_map(unwrapped, kwargs))
    if name == "copy_" and not isinstance(args[0], OnGpu):
        return found
    return tree_map(wrapped, found) if to_gpu else found


@contextlib.contextmanager
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Learners that are made here train on it."""
    with monkeypatch.context() as patch:
        patch.setenv(DEVICE_NAME, NAME)
        for place, function in _LISTS:
            patch.setattr(place, function, _and_ours(getattr(place, function)))
        with _Mode():
            yield


def _and_ours(listed: Callable[..., list[str]]) -> Callable[..., list[str]]:
    return lambda *args, **kwargs: [*listed(*args, **kwargs), NAME]


_FOREACH, _FUSED = "_get_foreach_kernels_supported_devices", "_get_fused_kernels_supported_devices"
_OPTIMIZER = sys.modules[torch.optim.Optimizer.__module__]
_LISTS = ((torch.utils._foreach_utils, _FOREACH), (_OPTIMIZER, _FOREACH), (_OPTIMIZER, _FUSED))
"""Where torch's optimizers look up the devices that they have fast forms for."""
