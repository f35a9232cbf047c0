"""The optimizer's step, as every algorithm takes it: AdamW, a schedule by absolute progress, accumulated
micro-batches, clipped gradients, mixed precision where there is a GPU, and an end when the numbers blow up."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from supervisor.contract import Reason
from supervisor.errors import TrialError

State = dict[str, object]


@dataclass(frozen=True)
class UpdateArgs:
    """How parameters follow their gradients."""

    learning_rate: float  # at the start
    learning_rate_end: float = 1.0  # share of it left at the last step; in between it falls linearly
    weight_decay: float = 0.0  # 0 makes AdamW Adam
    gradient_clip: float = 10.0  # largest norm of a gradient
    amp: bool = False  # mixed precision on a GPU: bfloat16 where it has it, else float16 with a scaled loss


class Updater:
    """Owns the optimizer of some parameters, all on one device."""

    def __init__(self, parameters: Iterable[nn.Parameter], args: UpdateArgs) -> None:
        self._parameters = list(parameters)
        self._args = args
        device = self._parameters[0].device.type
        self._optimizer = torch.optim.AdamW(
            self._parameters, args.learning_rate, weight_decay=args.weight_decay, fused=True
        )
        self._low = _low_precision(device) if args.amp else None
        self._device = device
        self._scaler = torch.amp.GradScaler(device, enabled=self._low is torch.float16)
        self.steps = 0

    def step(self, losses: Sequence[Callable[[], Tensor]], share: float) -> float:
        """One step along the mean gradient of some micro-batches; each gives its mean loss when called.

        `share` in [0, 1] is how much of the training is done. Returns the mean loss; raises TrialError (diverged) when
        it, or a gradient under full precision, is not finite: the parameters are then still those before the step.
        """
        self._optimizer.zero_grad()
        total = 0.0
        for loss_of in losses:
            with self._precision():
                loss = loss_of() / len(losses)
            self._scaler.scale(loss).backward()
            total += float(loss.detach())
        self._scaler.unscale_(self._optimizer)
        norm = nn.utils.clip_grad_norm_(self._parameters, self._args.gradient_clip, foreach=True)
        self._require_finite(total, norm)
        rate = self._args.learning_rate * (1.0 + (self._args.learning_rate_end - 1.0) * share)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self.steps += 1
        return total

    @property
    def learning_rate(self) -> float:
        """Of the step before."""
        return float(self._optimizer.param_groups[0]["lr"])

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext() if self._low is None else torch.autocast(self._device, self._low)

    def _require_finite(self, loss: float, norm: Tensor) -> None:
        # a scaled loss overflows now and then: the scaler leaves such a step out and lowers its factor
        finite = loss == loss and abs(loss) != float("inf")
        if finite and (self._scaler.is_enabled() or bool(torch.isfinite(norm))):
            return
        raise TrialError(
            Reason.DIVERGED, f"loss {loss}, norm of the gradient {float(norm)} at gradient step {self.steps + 1}"
        )

    def state(self) -> State:
        return {
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "steps": self.steps,
        }

    def load_state(self, saved: Mapping[str, object]) -> None:
        """Go on from `state()`."""
        self._optimizer.load_state_dict(cast(dict[str, Any], saved["optimizer"]))
        self._scaler.load_state_dict(cast(dict[str, Any], saved["scaler"]))
        self.steps = cast(int, saved["steps"])


def _low_precision(device: str) -> torch.dtype | None:
    if device != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
