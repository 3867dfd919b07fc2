"""What the ranks of a cell tell each other, so that N devices train on the same loss as one. A cell alone is a world of one."""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


def world() -> int:
    """How many ranks train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def summed(value: Tensor) -> Tensor:
    """The sum over ranks of a tensor that records no gradient."""
    if world() == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total


def averaged(value: Tensor) -> Tensor:
    """The mean over ranks of a tensor that records no gradient."""
    return value if world() == 1 else summed(value) / world()


class Mean:
    """The mean of values over the batches of all ranks, each of which counts `count` times. (Lightning's own rounds the count of ranks'
    rows to a whole number a rank.)"""

    def __init__(self) -> None:
        self.total = torch.zeros(())
        self.count = 0

    def add(self, value: float, count: int) -> None:
        """One batch's."""
        self.total = self.total + torch.tensor(value) * count
        self.count += count

    def everywhere(self, device: torch.device) -> Tensor:
        """What it comes to on all ranks, which must all ask, each with its device; NaN where nothing was counted."""
        return summed(self.total.to(device)) / summed(torch.tensor(self.count, device=device))


def gathered(batches: list[Any]) -> list[Any]:
    """What this rank made of the batches rank, rank + world, ... -> what all made, in the order of the batches. Ranks have equally many:
    where batches ran out, a rank's last one is empty."""
    if world() == 1:
        return batches
    told: list[Any] = [None] * world()
    dist.all_gather_object(told, batches)
    return list(chain.from_iterable(zip(*told, strict=True)))


def shared_unexplained(given: Tensor, wanted: Tensor) -> Tensor:
    """`modeling.answers.unexplained` of tokens [..., D] that lie on all ranks: this rank's part, whose mean over ranks is the whole."""
    rows = wanted.flatten(0, -2).double()
    sums = torch.cat([rows.new_full((1,), len(rows)), rows.sum(0), rows.square().sum(0)])
    count, totals, squares = summed(sums).split([1, rows.shape[1], rows.shape[1]])
    variance = (squares / count - (totals / count).square()).mean()
    error = (given.float() - wanted).square().sum() / (count * rows.shape[1])
    return (world() * error / variance).float()
