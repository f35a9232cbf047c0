"""The Q-network: a stack of linear layers, with one head or the two of a dueling network (Wang et al. 2016)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from trainers.learner import Exported

Weights = Mapping[str, Tensor]
"""A network's `state_dict`."""


Back = Callable[[Tensor, Weights, bool], None]
"""From the gradient of some values to those of the parameters, which replace or, with False, are added to the tensors
given by name."""

ALIGNMENT = 16
"""Floats in 64 bytes. A matrix product's last bits depend on where its operands begin: in a stack of networks all do at
such a multiple, so that a network's values do not depend on its place."""


def aligned(width: int) -> int:
    return -(-width // ALIGNMENT) * ALIGNMENT


class QModel(nn.Module):
    """What Double DQN asks of its network besides values for observations."""

    def stacked_shapes(self) -> dict[str, torch.Size]:
        """Of the parameters as `side_by_side` takes them; there may be zeros behind each row and column."""
        return {name: own.shape for name, own in self.state_dict().items()}

    def side_by_side(self, weights: Weights, seen: Tensor, dice: Sequence[Generator] | None = None) -> Tensor:
        """Values (candidates, rows, outputs) for what each of several networks like this one sees, (candidates, rows,
        inputs); `weights` are theirs, (candidates, ...). With `dice`, one each, dropout acts.

        Here one network after the other; networks whose layers can be stacked do better.
        """
        self.train(dice is not None)
        names, rows = list(weights), [weight.unbind(0) for weight in weights.values()]
        values = []
        for k, own in enumerate(zip(*rows, strict=True)):
            with _rolling(dice[k] if dice else None):
                values.append(functional_call(self, dict(zip(names, own, strict=True)), (seen[k],)))
        return torch.stack(values)

    def followed(self, weights: Weights, seen: Tensor, dice: Sequence[Generator] | None = None) -> tuple[Tensor, Back]:
        """The values of `side_by_side`, and the way back from them.

        Here torch keeps the books; a network that knows its own derivative is spared them.
        """
        leaves = {name: own.detach().requires_grad_() for name, own in weights.items()}
        values = self.side_by_side(leaves, seen, dice)

        def back(gradient: Tensor, found: Weights, replaces: bool) -> None:
            parts = torch.autograd.grad(values, list(leaves.values()), gradient)
            (torch._foreach_copy_ if replaces else torch._foreach_add_)([found[name] for name in leaves], parts)

        return values.detach(), back

    def adopt(self, weights: Weights) -> bool:
        """Copy every tensor that fits; True if all of them came."""
        raise NotImplementedError

    def exported(self) -> Exported:
        """The network as it answers in production."""
        raise NotImplementedError


class QNetwork(QModel):
    """state [batch, inputs] float32 -> Q-values [batch, outputs] float32.

    Dueling: Q = V + A - mean(A). Dropout stands behind every hidden layer and only acts in training mode.
    """

    def __init__(
        self, inputs: int, hidden: Sequence[int], outputs: int, dueling: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.inputs, self.hidden_widths = inputs, tuple(hidden)
        widths = [inputs, *hidden]
        hidden_layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
        self.hidden = nn.ModuleList(hidden_layers)
        self.advantage = nn.Linear(widths[-1], outputs)
        self.value = nn.Linear(widths[-1], 1) if dueling else None
        self.dropout = dropout
        for layer in hidden_layers:
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, state: Tensor) -> Tensor:
        for layer in self.hidden:
            state = torch.relu(layer(state))
            if self.dropout and self.training:
                state = torch.dropout(state, self.dropout, train=True)
        advantage: Tensor = self.advantage(state)
        if self.value is None:
            return advantage
        value: Tensor = self.value(state)
        return value + advantage - advantage.mean(1, keepdim=True)

    def stacked_shapes(self) -> dict[str, torch.Size]:
        return {name: torch.Size(map(aligned, own.shape)) for name, own in self.state_dict().items()}

    def side_by_side(self, weights: Weights, seen: Tensor, dice: Sequence[Generator] | None = None) -> Tensor:
        return self._values(weights, self._activations(weights, seen, dice)[0][-1])

    def followed(self, weights: Weights, seen: Tensor, dice: Sequence[Generator] | None = None) -> tuple[Tensor, Back]:
        with torch.no_grad():
            activations, kept = self._activations(weights, seen, dice)
            return self._values(weights, activations[-1]), partial(self._back, weights, activations, kept)

    def _activations(
        self, weights: Weights, seen: Tensor, dice: Sequence[Generator] | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """What goes into each layer, the heads' last; and what dropout multiplied the outputs of the hidden ones by."""
        missing = aligned(self.inputs) - self.inputs
        into, kept = [functional.pad(seen, (0, missing)) if missing else seen], []
        for number in range(len(self.hidden)):
            into.append(_linear(weights, f"hidden.{number}", into[-1]).relu_())
            if dice is not None:
                kept.append(_kept(into[-1], self.dropout, dice))
                into[-1] = into[-1] * kept[-1]
        return into, kept

    def _values(self, weights: Weights, last: Tensor) -> Tensor:
        advantage = _linear(weights, "advantage", last)[..., : self.advantage.out_features]
        if self.value is None:
            return advantage
        return _linear(weights, "value", last)[..., :1] + advantage - advantage.mean(2, keepdim=True)

    def _back(
        self,
        weights: Weights,
        activations: list[Tensor],
        kept: list[Tensor],
        gradient: Tensor,
        found: Weights,
        replaces: bool,
    ) -> None:
        """The chain rule, from the heads to the first layer."""

        def through(layer: str, into: Tensor, gradient: Tensor) -> None:
            _put(found[f"{layer}.weight"], replaces, torch.bmm, gradient.transpose(1, 2), into)
            _put(found[f"{layer}.bias"], replaces, torch.sum, gradient, 1)

        last = activations[-1]
        if self.value is None:
            gradient = _padded(gradient)
            through("advantage", last, gradient)
            gradient = torch.bmm(gradient, weights["advantage.weight"])
        else:
            total = gradient.sum(2, keepdim=True)
            ahead, level = _padded(gradient - total / self.advantage.out_features), _padded(total)
            through("advantage", last, ahead)
            through("value", last, level)
            gradient = torch.bmm(ahead, weights["advantage.weight"]).baddbmm_(level, weights["value.weight"])
        for number in reversed(range(len(self.hidden))):
            gradient = gradient * kept[number] if kept else gradient
            gradient = torch.ops.aten.threshold_backward(gradient, activations[number + 1], 0)
            through(f"hidden.{number}", activations[number], gradient)
            if number:
                gradient = torch.bmm(gradient, weights[f"hidden.{number}.weight"])

    def exported(self) -> Exported:
        """The same function as plain layers with ReLU between: a dueling network's heads are folded into one."""
        plain = QNetwork(self.inputs, self.hidden_widths, self.advantage.out_features)
        plain.load_state_dict(with_one_head(self.state_dict()))
        return Exported(plain.eval(), {"state": (self.inputs,)}, {"q_values": (self.advantage.out_features,)})

    def adopt(self, weights: Weights) -> bool:
        """Copy every tensor that fits, from a network with another kind of head too; True if all of them came."""
        own = self.state_dict()
        given = with_one_head(weights) if self.value is None else with_two_heads(weights)
        fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
        self.load_state_dict({**own, **fitting})
        return len(fitting) == len(own)


def _linear(weights: Weights, layer: str, seen: Tensor) -> Tensor:
    return torch.baddbmm(weights[f"{layer}.bias"][:, None], seen, weights[f"{layer}.weight"].transpose(1, 2))


def _put(place: Tensor, replaces: bool, function: Callable[..., Tensor], *arguments: object) -> None:
    """What the function finds, straight into its place where it can be: the same kernel, and so the same bits."""
    if replaces and place.is_contiguous():
        function(*arguments, out=place)
    elif replaces:
        place.copy_(function(*arguments))
    else:
        place.add_(function(*arguments))


def _padded(gradient: Tensor) -> Tensor:
    """With zeros up to the width that the weights have."""
    width = gradient.shape[2]
    return functional.pad(gradient, (0, aligned(width) - width))


def _kept(like: Tensor, dropout: float, dice: Sequence[Generator]) -> Tensor:
    """What dropout multiplies with: 0, or so much more that the mean stays."""
    kept = torch.empty_like(like)
    for own, generator in zip(kept, dice, strict=True):
        own.bernoulli_(1.0 - dropout, generator=generator)
    return kept.div_(1.0 - dropout)


@contextlib.contextmanager
def _rolling(generator: Generator | None) -> Iterator[None]:
    """Random numbers of torch's layers come from `generator`."""
    if generator is None:
        yield
        return
    on_gpu = generator.device.type == "cuda"
    if on_gpu:
        torch.cuda.set_rng_state(generator.get_state(), generator.device)
    else:
        torch.set_rng_state(generator.get_state())
    yield
    generator.set_state(torch.cuda.get_rng_state(generator.device) if on_gpu else torch.get_rng_state())


def with_one_head(weights: Weights) -> Weights:
    """The same function without a value head: both heads are linear in the last hidden layer, so they fold."""
    if "value.weight" not in weights:
        return weights
    folded = {name: tensor for name, tensor in weights.items() if not name.startswith("value.")}
    for part in ("weight", "bias"):
        advantage, value = weights[f"advantage.{part}"].double(), weights[f"value.{part}"].double()
        folded[f"advantage.{part}"] = (advantage - advantage.mean(0, keepdim=True) + value).float()
    return folded


def with_two_heads(weights: Weights) -> Weights:
    """The same function with a value head, which takes what the advantages have in common."""
    if "value.weight" in weights:
        return weights
    means = {f"value.{part}": weights[f"advantage.{part}"].mean(0, keepdim=True) for part in ("weight", "bias")}
    return {**weights, **means}
