"""How much fusion changes each token: the norm of what a fusion point adds over the norm of what it was given, the injection ratio."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from torch import Tensor

from fila_lab.modeling import HybridEncoder
from fila_lab.modeling.detail import DetailMaps

FusionPoint = tuple[int, int]
"""(ConvNeXt stage, after ViT layer)."""


class Change(NamedTuple):
    """Of tokens [..., D] at a fusion point: their norm, that of what was added, and the ratio of the two, [...] each."""

    token_norm: np.ndarray
    change_norm: np.ndarray
    injection: np.ndarray


def changed(before: np.ndarray, after: np.ndarray) -> Change:
    """What a fusion point did to tokens [..., D]."""
    norm, change = (np.linalg.norm(values, axis=-1) for values in (before, after - before))
    return Change(norm, change, change / np.maximum(norm, 1e-12))


@contextmanager
def injections(encoder: HybridEncoder) -> Iterator[dict[FusionPoint, np.ndarray]]:
    """Inside, every forward pass leaves the injection ratio of its tokens in the dictionary: fusion point -> [N, g*g], N tiles and
    overviews as the ViT sees them (an image's overview first), the class token left out."""
    found: dict[FusionPoint, np.ndarray] = {}

    def hook(point: FusionPoint, tokens: Tensor, details: DetailMaps, fuse: Callable[[], Tensor]) -> Tensor:
        after = fuse()
        found[point] = changed(*(states[:, 1:].detach().double().cpu().numpy() for states in (tokens, after))).injection
        return after

    with encoder.around_fusion(hook):
        yield found
