"""The parameters of several networks of one shape, as one tensor with a row per network."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Generator, Tensor

from trainers.device import CPU
from trainers.networks.mlp import Back, QModel, Weights, aligned


class Stack:
    """`candidates` networks like `model`, whose own parameters are of no account.

    `values` is (candidates, numbers); `weights` are views of it by a parameter's name, (candidates, ...), as
    `QModel.side_by_side` takes them: they may be wider than the parameter, with zeros.
    """

    def __init__(self, model: QModel, candidates: int, device: torch.device = CPU) -> None:
        self.model = model.to(device)
        self._inside = {name: tuple(map(slice, own.shape)) for name, own in model.state_dict().items()}
        self._shapes = model.stacked_shapes()
        self._ends = list(accumulate(aligned(shape.numel()) for shape in self._shapes.values()))
        self.values = torch.zeros(candidates, self._ends[-1], device=device)
        self.weights = self._views(self.values)

    def _views(self, flat: Tensor) -> dict[str, Tensor]:
        """Each begins at a multiple of 64 bytes in every row: kernels see the same layout wherever a network is."""
        begins = [0, *self._ends[:-1]]
        return {
            name: flat[:, begin : begin + shape.numel()].view(-1, *shape)
            for (name, shape), begin in zip(self._shapes.items(), begins, strict=True)
        }

    def __call__(self, seen: Tensor) -> Tensor:
        """(candidates, rows, inputs) -> (candidates, rows, outputs), without gradients."""
        with torch.no_grad():
            return self.model.side_by_side(self.weights, seen)

    def _of(self, candidate: int) -> dict[str, Tensor]:
        return {name: own[candidate][self._inside[name]] for name, own in self.weights.items()}

    def load(self, candidate: int, weights: Weights) -> None:
        for name, own in self._of(candidate).items():
            own.copy_(weights[name])

    def state(self, candidate: int) -> dict[str, Tensor]:
        """A copy of one network's `state_dict`."""
        return {name: own.clone(memory_format=torch.contiguous_format) for name, own in self._of(candidate).items()}

    def network(self, candidate: int) -> QModel:
        """One network as a module of its own, whose parameters are those of the stack."""
        alone = copy.deepcopy(self.model).requires_grad_(False).eval()
        own = self._of(candidate)
        for name, parameter in alone.named_parameters():
            parameter.data = own[name]
        return alone


class TrainedStack(Stack):
    """A stack with the gradients of its parameters: `gradients` is (candidates, numbers), as `values`."""

    def __init__(self, model: QModel, candidates: int, device: torch.device = CPU) -> None:
        super().__init__(model, candidates, device)
        self.gradients = torch.zeros_like(self.values)
        self._gradients = self._views(self.gradients)

    def followed(self, seen: Tensor, dice: Sequence[Generator] | None) -> tuple[Tensor, Back]:
        """Values, and the way back from them, which `add_gradients` takes; with `dice`, one a network, dropout acts."""
        return self.model.followed(self.weights, seen, dice)

    def add_gradients(self, back: Back, gradient: Tensor, first: bool) -> None:
        """Of the parameters, for a gradient of the values; the first of some parts replaces the gradients before."""
        back(gradient, self._gradients, first)
