"""No fusion: the baseline."""

from __future__ import annotations

from torch import Tensor

from fila_lab.modeling.fusion.base import Fusion, FusionContext, FusionOutput, FusionSpec
from fila_lab.modeling.fusion.registry import register


@register("none")
class NoFusion(Fusion):
    """Tokens as they were."""

    local = True

    def __init__(self, spec: FusionSpec) -> None:
        super().__init__()
        spec.refuse("none", "aggregate", "combine", "gate")

    def forward(self, tokens: Tensor, detail: Tensor, context: FusionContext) -> FusionOutput:
        return FusionOutput(tokens)
