"""The derivative that a Q-network knows by itself is the one that torch would find."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.networks.mlp import QModel, QNetwork
from trainers.networks.stacked import Stack

ROWS, OUTPUTS = 12, 5


def dice(candidates: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(k) for k in range(candidates)]


def blank(stack: Stack) -> dict[str, torch.Tensor]:
    return {name: torch.full_like(own, torch.nan) for name, own in stack.weights.items()}


@settings(max_examples=40, deadline=None)
@given(
    inputs=st.integers(1, 40),
    hidden=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    candidates=st.integers(1, 3),
    dueling=st.booleans(),
    dropout=st.booleans(),
    seed=st.integers(0, 999),
)
def test_the_way_back_through_stacked_layers_is_the_one_that_autograd_finds(
    inputs: int, hidden: list[int], candidates: int, dueling: bool, dropout: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    model = QNetwork(inputs, hidden, OUTPUTS, dueling, dropout=0.3)
    stack = Stack(model, candidates)
    for k in range(candidates):
        stack.load(k, QNetwork(inputs, hidden, OUTPUTS, dueling).state_dict())
    seen, gradient = torch.randn(candidates, ROWS, inputs), torch.randn(candidates, ROWS, OUTPUTS)
    found = model.followed(stack.weights, seen, dice(candidates) if dropout else None)
    expected = QModel.followed(model, stack.weights, seen, dice(candidates) if dropout else None)
    torch.testing.assert_close(found[0], expected[0])
    own, torchs = blank(stack), blank(stack)
    expected[1](gradient, torchs, True)
    for replaces, times in ((True, 1), (True, 1), (False, 2)):
        found[1](gradient, own, replaces)
        for name, tensor in own.items():
            torch.testing.assert_close(tensor, times * torchs[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dueling", [False, True])
def test_what_lies_behind_the_weights_has_no_gradient(dueling: bool) -> None:
    model = QNetwork(3, (5,), OUTPUTS, dueling)
    stack = Stack(model, 1)
    stack.load(0, model.state_dict())
    gradients = blank(stack)
    model.followed(stack.weights, torch.randn(1, ROWS, 3))[1](torch.randn(1, ROWS, OUTPUTS), gradients, True)
    for name, own in model.state_dict().items():
        inside = gradients[name][0][tuple(map(slice, own.shape))]
        assert inside.count_nonzero() == gradients[name].count_nonzero() > 0
