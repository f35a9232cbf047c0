"""One optimizer's step, however its batch is split, and what happens when the numbers blow up."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from supervisor.errors import TrialError
from trainers import weights
from trainers.algorithms.updates import UpdateArgs, Updater

ARGS = UpdateArgs(learning_rate=0.01, learning_rate_end=0.1, weight_decay=1e-3, gradient_clip=1.0)


def made(args: UpdateArgs = ARGS) -> tuple[nn.Linear, Updater]:
    torch.manual_seed(0)
    layer = nn.Linear(4, 2)
    return layer, Updater(layer.parameters(), args)


def loss_of(layer: nn.Linear, rows: Tensor) -> Tensor:
    return layer(rows).square().mean()


def batch(seed: int) -> Tensor:
    return torch.rand(8, 4, generator=torch.Generator().manual_seed(seed))


def trained(layer: nn.Linear, updater: Updater, parts: int, steps: range) -> list[float]:
    return [
        updater.step([partial(loss_of, layer, part) for part in batch(step).chunk(parts)], step / 10) for step in steps
    ]


def test_accumulated_parts_step_as_the_whole_batch_does() -> None:
    (whole, whole_updater), (split, split_updater) = made(), made()
    losses = trained(whole, whole_updater, 1, range(10)), trained(split, split_updater, 4, range(10))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert torch.allclose(whole.weight, split.weight, atol=1e-6)
    assert losses[0][-1] < losses[0][0] * 0.9


def test_the_learning_rate_follows_the_share_of_the_training_that_is_done_and_nothing_else() -> None:
    layer, updater = made()
    for share, rate in ((0.5, 0.0055), (0.0, 0.01), (1.0, 0.001)):
        updater.step([partial(loss_of, layer, batch(0))], share)
        assert updater.learning_rate == pytest.approx(rate)


def test_restored_into_another_it_goes_on_bit_for_bit() -> None:
    layer, updater = made()
    trained(layer, updater, 2, range(5))
    saved = weights.unpack(weights.pack({"layer": layer.state_dict(), "updater": updater.state()}))
    trained(layer, updater, 2, range(5, 10))
    torch.manual_seed(1)
    other = nn.Linear(4, 2)
    again = Updater(other.parameters(), ARGS)
    other.load_state_dict(saved["layer"])
    again.load_state(saved["updater"])
    trained(other, again, 2, range(5, 10))
    assert torch.equal(other.weight, layer.weight)
    assert again.steps == updater.steps == 10


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), 1e38])
def test_numbers_that_blow_up_end_the_training_and_leave_the_last_good_weights(factor: float) -> None:
    layer, updater = made()
    trained(layer, updater, 1, range(3))
    before = layer.weight.detach().clone()
    with pytest.raises(TrialError, match=r"diverged.*at gradient step 4"):
        updater.step([lambda: loss_of(layer, batch(0)) * factor * 1e10], 0.5)
    assert torch.equal(layer.weight, before)
    assert updater.steps == 3


def test_half_precision_is_left_alone_where_there_is_no_gpu() -> None:
    losses = []
    for amp in (False, True):
        layer, updater = made(UpdateArgs(0.01, amp=amp))
        losses.append(trained(layer, updater, 1, range(5)))
    assert losses[0] == losses[1]
