"""Learning rates over the steps, and who gets which, against PyTorch's and plain formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from fila_lab.config import TrainConfig
from fila_lab.training.optimiser import factors, one_group, optimiser, rated_groups


@pytest.mark.parametrize("steps", [1, 2, 7, 100])
@pytest.mark.parametrize("warmup", [0.0, 0.03, 0.5])
def test_schedules_rise_in_a_line_and_end_as_they_are_called(steps: int, warmup: float) -> None:
    rising = max(1, round(warmup * steps))
    found = {name: [factors(name, steps, warmup)(step) for step in range(steps + 1)] for name in ("cosine", "linear", "constant")}
    for name, values in found.items():
        assert values[:rising] == pytest.approx([(step + 1) / rising for step in range(rising)]), name
        assert all(0 <= value <= 1 for value in values)
    fallen = [(step - rising) / max(1, steps - rising) for step in range(rising, steps + 1)]
    assert found["cosine"][rising:] == pytest.approx([0.5 * (1 + math.cos(math.pi * gone)) for gone in fallen])
    assert found["linear"][rising:] == pytest.approx([1 - gone for gone in fallen])
    assert set(found["constant"][rising:]) <= {1.0}


def test_each_entry_has_its_rate_and_no_vector_decays() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2, bias=False))
    named = list(net.named_parameters())
    entries = {"first": named[:2], "rest": named[2:]}
    groups = rated_groups(entries, {"first": 1e-3, "rest": 1e-5}, weight_decay=0.1)
    told = {id(each): (group["lr"], group["weight_decay"]) for group in groups for each in group["params"]}
    assert {name: told[id(value)] for name, value in named} == {
        "0.weight": (1e-3, 0.1),
        "0.bias": (1e-3, 0.0),
        "1.weight": (1e-5, 0.0),
        "1.bias": (1e-5, 0.0),
        "2.weight": (1e-5, 0.1),
    }
    assert all(group["params"] for group in rated_groups({"norm": named[2:4]}, {"norm": 1e-3}, 0.1))


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_is_adamw_s_own(fused: bool) -> None:
    """Two rates in one optimiser do what two optimisers do."""
    train = TrainConfig(steps=5, warmup=0.0, schedule="constant")
    torch.manual_seed(0)
    one, other = (nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)]) for _ in range(2))
    other.load_state_dict(one.state_dict())
    entries = {str(n): list(part.named_parameters()) for n, part in enumerate(one)}
    made = optimiser(rated_groups(entries, {"0": 1e-2, "1": 1e-4}, 0.1), train, fused)["optimizer"]
    plain = [
        torch.optim.AdamW(one_group(part.parameters(), rate, 0.1), betas=(0.9, 0.98))
        for part, rate in zip(other, (1e-2, 1e-4), strict=True)
    ]
    for _ in range(3):
        x = torch.randn(5, 3)
        for net, steps in ((one, [made]), (other, plain)):
            for each in steps:
                each.zero_grad()
            net[1](net[0](x)).square().sum().backward()
            for each in steps:
                each.step()
    for name, value in one.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name])
