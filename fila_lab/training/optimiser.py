"""The optimiser of a training stage: AdamW, who gets which learning rate, and how the rates go over the steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from fila_lab.config import TrainConfig
from fila_lab.config.stages import Schedule
from fila_lab.modeling.parts import Named

BETAS = (0.9, 0.98)


def optimiser(groups: list[dict[str, Any]], train: TrainConfig, fused: bool) -> dict[str, Any]:
    """Optimiser and schedule of `train.steps` steps, as Lightning takes them.

    groups: of `one_group` or `rated_groups`; fused: AdamW as one kernel for all weights of a type (runtime.fused_optimizer).
    """
    kernels = {"fused": True} if fused else {"foreach": True}
    made = torch.optim.AdamW(groups, betas=BETAS, **kernels)
    schedule = torch.optim.lr_scheduler.LambdaLR(made, factors(train.schedule, train.steps, train.warmup))
    return {"optimizer": made, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def one_group(parameters: Iterable[nn.Parameter], rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """All parameters at one learning rate; norms, biases and single vectors do not decay."""
    known = list(parameters)
    return [
        {"params": [each for each in known if each.ndim > 1], "lr": rate, "weight_decay": weight_decay},
        {"params": [each for each in known if each.ndim <= 1], "lr": rate, "weight_decay": 0.0},
    ]


def rated_groups(entries: Mapping[str, Named], rates: Mapping[str, float], weight_decay: float) -> list[dict[str, Any]]:
    """The parameters of each entry at its own learning rate, in the order of the entries (LLaVA-NeXT's rates by name)."""
    found = []
    for entry, named in entries.items():
        found += [group for group in one_group((each for _, each in named), rates[entry], weight_decay) if group["params"]]
    return found


def factors(schedule: Schedule, steps: int, warmup: float) -> Callable[[int], float]:
    """Step -> what the learning rates are multiplied by. The warm-up, a share of the steps and at least one, rises in a line to 1."""
    rising = max(1, round(warmup * steps))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        gone = min(1.0, (step - rising) / max(1, steps - rising))
        return {"cosine": 0.5 * (1 + math.cos(math.pi * gone)), "linear": 1.0 - gone, "constant": 1.0}[schedule]

    return factor
