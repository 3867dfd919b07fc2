"""Where fusion happens: the (ConvNeXt stage, after ViT layer) pairs a depth stands for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from fila_lab.config.base import ConfigError

FILA_INTERACTIONS = ((1, 2), (2, 6), (3, 12), (4, 20))
FILA_LAYERS = 24


def feature_index(feature_layer: int, layers: int) -> int:
    """Layer (1..layers) whose output's patch tokens go on; negative values count from the end, -1 is the last."""
    index = layers + 1 + feature_layer if feature_layer < 0 else feature_layer
    if not 1 <= index <= layers:
        raise ConfigError(f"vit.feature_layer = {feature_layer} is outside a ViT of {layers} layers; choose -1 (last) to -{layers}")
    return index


def resolve_interactions(depth: Literal["last", "multi"] | Sequence[tuple[int, int]], layers: int) -> tuple[tuple[int, int], ...]:
    """(stage, after layer) pairs. `multi` scales FILA's four by depth (floor(x + .5), at least 1); `last` is the fourth of them alone."""
    if isinstance(depth, str):
        scaled = tuple((stage, max(1, math.floor(layer * layers / FILA_LAYERS + 0.5))) for stage, layer in FILA_INTERACTIONS)
        return scaled[-1:] if depth == "last" else scaled
    return tuple((int(stage), int(layer)) for stage, layer in depth)


def check_interactions(depth: Literal["last", "multi"] | Sequence[tuple[int, int]], layers: int, feature_layer: int) -> None:
    """Refuse pairs that cannot work: a stage outside 1-4, layers out of order, or no layer left between the last one and the features."""
    feature = feature_index(feature_layer, layers)
    pairs = resolve_interactions(depth, layers)
    shown = [list(pair) for pair in pairs]
    if not pairs:
        raise ConfigError("fusion.depth = [] has no interactions; give [stage, layer] pairs, or use fusion.name=none")
    for stage, _ in pairs:
        if not 1 <= stage <= 4:
            raise ConfigError(f"fusion.depth = {shown}: stage {stage} does not exist; a ConvNeXt has stages 1-4")
    order = [layer for _, layer in pairs]
    if order != sorted(set(order)):
        raise ConfigError(f"fusion.depth = {shown}: layers must increase and appear once; order the pairs by layer")
    if order[0] < 1 or order[-1] >= feature:
        raise ConfigError(
            f"fusion.depth = {shown}: interactions must follow layers 1 to {feature - 1}, so that at least one layer follows the last "
            f"(vit.feature_layer = {feature_layer} takes the output of layer {feature} of {layers}); "
            "move the interaction or set vit.feature_layer=-1"
        )
