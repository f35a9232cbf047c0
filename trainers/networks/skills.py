"""A Q-network over skills: every slot is valued by one and the same function of the state and the skill's embedding."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from trainers.learner import Exported
from trainers.networks.mlp import QModel, Weights


class SkillQNetwork(QModel):
    """[batch, inputs + slots + 1] float32 -> Q-values [batch, slots]: a state, the ids of the slots, the foe's nature.

    The order of the slots does not matter: it permutes the values. Dueling: Q = V + A - mean(A).
    """

    def __init__(
        self,
        inputs: int,
        slots: int,
        vocabulary: int,
        natures: int,
        embedding: int,
        hidden: Sequence[int],
        dueling: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.inputs, self.slots = inputs, slots
        self.skill = nn.Embedding(vocabulary, embedding)
        self.nature = nn.Embedding(natures, embedding)
        widths = [inputs + embedding, *hidden]
        trunk = [nn.Linear(a, b) for a, b in pairwise(widths[:-1])]
        self.trunk = nn.ModuleList(trunk)
        self.of_state = nn.Linear(widths[-2], widths[-1])
        # The pair of skill and nature decides how well a blow lands: a product lets one embedding gate the other.
        self.of_skill = nn.Linear(2 * embedding, widths[-1], bias=False)
        self.advantage = nn.Linear(widths[-1], 1)
        self.value = nn.Linear(widths[-2], 1) if dueling else None
        self.dropout = dropout
        for layer in [*trunk, self.of_state]:
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, observation: Tensor) -> Tensor:
        state, ids = observation[:, : self.inputs], observation[:, self.inputs :].to(torch.int64)
        skill = self.skill(ids[:, : self.slots])
        nature = self.nature(ids[:, self.slots])
        h = torch.cat([state, nature], 1)
        for layer in self.trunk:
            h = self._drop(torch.relu(layer(h)))
        pair = torch.cat([skill, skill * nature[:, None]], 2)
        joint = self._drop(torch.relu(self.of_state(h)[:, None] + self.of_skill(pair)))
        advantage: Tensor = self.advantage(joint).reshape(-1, self.slots)
        if self.value is None:
            return advantage
        value: Tensor = self.value(h)
        return value + advantage - advantage.mean(1, keepdim=True)

    def _drop(self, h: Tensor) -> Tensor:
        return torch.dropout(h, self.dropout, train=True) if self.dropout and self.training else h

    def adopt(self, weights: Weights) -> bool:
        """Copy every tensor that fits; True if all of them came."""
        own = self.state_dict()
        fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
        self.load_state_dict({**own, **fitting})
        return len(fitting) == len(own)

    def exported(self) -> Exported:
        inputs = {"state": (self.inputs,), "skills": (self.slots + 1,)}
        return Exported(_Apart(self).eval(), inputs, {"q_values": (self.slots,)})


class _Apart(nn.Module):
    """The network with state and skills as two inputs."""

    def __init__(self, network: SkillQNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, state: Tensor, skills: Tensor) -> Tensor:
        values: Tensor = self.network(torch.cat([state, skills], 1))
        return values
