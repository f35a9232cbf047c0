"""An actor and a critic on shared layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from trainers.networks.layers import Stack, linear


class ActorCritic(nn.Module):
    """state [batch, inputs] -> logits of a choice [batch, choices], value [batch, 1], all float32.

    `shared` are the widths of the layers that both use, `head` those that each has for itself.
    """

    def __init__(self, inputs: int, shared: Sequence[int], head: Sequence[int], choices: int) -> None:
        super().__init__()
        self.shared = Stack(inputs, shared)
        self.actor = Stack(self.shared.outputs, head)
        self.critic = Stack(self.shared.outputs, head)
        self.logits = linear(self.actor.outputs, choices, 0.01)  # at first, every choice is about as likely
        self.value = linear(self.critic.outputs, 1, 1.0)

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        shared = self.shared(state)
        return self.logits(self.actor(shared)), self.value(self.critic(shared))
