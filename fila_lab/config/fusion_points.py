"""Where fusion happens: the (ConvNeXt stage, after ViT layer) pairs a depth stands for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from fila_lab.config.base import ConfigError

FILA_FUSION_POINTS = ((1, 2), (2, 6), (3, 12), (4, 20))
FILA_LAYERS = 24
COMPONENT = "fusion point"
"""What the name of a fusion point's component begins with in tables of costs."""

Depth = Literal["last", "multi", "after"] | Sequence[tuple[int, int | Literal["after"]]]
Pairs = tuple[tuple[int, int], ...]


def component_name(stage: int, layer: int) -> str:
    """`fusion point 1->2`: ConvNeXt stage 1, after ViT layer 2."""
    return f"{COMPONENT} {stage}->{layer}"


def feature_index(feature_layer: int, layers: int) -> int:
    """Layer (1..layers) whose output's patch tokens go on; negative values count from the end, -1 is the last."""
    index = layers + 1 + feature_layer if feature_layer < 0 else feature_layer
    if not 1 <= index <= layers:
        raise ConfigError(f"vit.feature_layer = {feature_layer} is outside a ViT of {layers} layers; choose -1 (last) to -{layers}")
    return index


def resolve_fusion_points(depth: Depth, layers: int, feature_layer: int = -1) -> Pairs:
    """(stage, after layer) pairs. `multi` scales FILA's four by depth (floor(x + .5), at least 1); `last` is the fourth of them alone.

    `after` is stage 1 after the feature layer, so that no layer follows: where Mini-Gemini fuses. As a layer in a list it means the same
    place for the stage beside it.
    """
    feature = feature_index(feature_layer, layers)
    if depth == "after":
        return ((1, feature),)
    if isinstance(depth, str):
        scaled = tuple((stage, max(1, math.floor(layer * layers / FILA_LAYERS + 0.5))) for stage, layer in FILA_FUSION_POINTS)
        return scaled[-1:] if depth == "last" else scaled
    return tuple((int(stage), feature if layer == "after" else int(layer)) for stage, layer in depth)


def check_fusion_points(depth: Depth, layers: int, feature_layer: int) -> None:
    """Refuse pairs that cannot work: a stage outside 1-4, layers out of order, a pair named twice, or no layer left between the last one
    and the features where none was asked for (`after`)."""
    feature = feature_index(feature_layer, layers)
    pairs = resolve_fusion_points(depth, layers, feature_layer)
    shown = [list(pair) for pair in (pairs if isinstance(depth, str) else depth)]
    if not pairs:
        raise ConfigError("fusion.depth = [] has no fusion points; give [stage, layer] pairs, or use fusion.name=none")
    for stage, _ in pairs:
        if not 1 <= stage <= 4:
            raise ConfigError(f"fusion.depth = {shown}: stage {stage} does not exist; a ConvNeXt has stages 1-4")
    order = [layer for _, layer in pairs]
    if order != sorted(order):
        raise ConfigError(f"fusion.depth = {shown}: layers must increase (several stages may share one); order the pairs by layer")
    if len(set(pairs)) < len(pairs):
        raise ConfigError(f"fusion.depth = {shown}: a [stage, layer] pair stands there twice; name each once")
    given = order if isinstance(depth, str) else [layer for _, layer in depth if layer != "after"]
    if order[0] < 1 or (depth != "after" and given and given[-1] >= feature):
        later = "" if feature == layers else "set vit.feature_layer=-1, "
        raise ConfigError(
            f"fusion.depth = {shown}: fusion points must follow layers 1 to {feature - 1}, so that at least one layer follows the last "
            f"(vit.feature_layer = {feature_layer} takes the output of layer {feature} of {layers}); "
            f"move the fusion point, {later}or write `after` for the layer if none should follow"
        )
