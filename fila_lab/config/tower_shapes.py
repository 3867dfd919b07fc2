"""Shapes of the towers' tensors by the configuration, and the configuration by the shapes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from fila_lab.config.geometry import GeometryConfig
from fila_lab.config.run import RunConfig
from fila_lab.config.safetensors_header import Shape
from fila_lab.config.towers import ConvNextConfig, VitConfig

POSITIONS = "positional_embedding"
"""A ViT's positional embedding: the class token's, then the patches', row by row."""


def tower_shapes(tower: str, config: RunConfig) -> dict[str, Shape]:
    """Name -> shape of the tensors of a run's `vit` or `convnext`."""
    return vit_shapes(config.vit, config.geometry) if tower == "vit" else convnext_shapes(config.convnext)


def vit_shapes(vit: VitConfig, geometry: GeometryConfig) -> dict[str, Shape]:
    """open_clip's VisionTransformer, without its projection."""
    width, inner = vit.width, int(vit.width * vit.mlp_ratio)
    shapes: dict[str, Shape] = {
        "class_embedding": (width,),
        POSITIONS: (geometry.grid**2 + 1, width),
        "conv1.weight": (width, 3, geometry.patch, geometry.patch),
    }
    for norm in ("ln_pre", "ln_post"):
        shapes |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    for layer in range(vit.layers):
        block = f"transformer.resblocks.{layer}"
        shapes |= {f"{block}.{norm}.{part}": (width,) for norm in ("ln_1", "ln_2") for part in ("weight", "bias")}
        shapes |= {f"{block}.attn.in_proj_weight": (3 * width, width), f"{block}.attn.in_proj_bias": (3 * width,)}
        shapes |= {f"{block}.attn.out_proj.weight": (width, width), f"{block}.attn.out_proj.bias": (width,)}
        shapes |= {f"{block}.mlp.c_fc.weight": (inner, width), f"{block}.mlp.c_fc.bias": (inner,)}
        shapes |= {f"{block}.mlp.c_proj.weight": (width, inner), f"{block}.mlp.c_proj.bias": (width,)}
    return shapes


def convnext_shapes(convnext: ConvNextConfig) -> dict[str, Shape]:
    """timm's ConvNeXt, without its head."""
    before = 3
    ones = (1, 1) if convnext.conv_mlp else ()
    shapes: dict[str, Shape] = {}
    for stage, (depth, dim) in enumerate(zip(convnext.depths, convnext.dims, strict=True)):
        if stage == 0:
            shapes |= {"stem.0.weight": (dim, 3, 4, 4), "stem.0.bias": (dim,), "stem.1.weight": (dim,), "stem.1.bias": (dim,)}
        else:
            down = f"stages.{stage}.downsample"
            shapes |= {f"{down}.0.weight": (before,), f"{down}.0.bias": (before,), f"{down}.1.bias": (dim,)}
            shapes[f"{down}.1.weight"] = (dim, before, 2, 2)
        for number in range(depth):
            block = f"stages.{stage}.blocks.{number}"
            shapes |= {f"{block}.{name}": (dim,) for name in ("gamma", "conv_dw.bias", "norm.weight", "norm.bias", "mlp.fc2.bias")}
            shapes |= {f"{block}.conv_dw.weight": (dim, 1, 7, 7), f"{block}.mlp.fc1.bias": (4 * dim,)}
            shapes |= {f"{block}.mlp.fc1.weight": (4 * dim, dim, *ones), f"{block}.mlp.fc2.weight": (dim, 4 * dim, *ones)}
        before = dim
    return shapes


def sizes_of(tower: str, shapes: Mapping[str, Shape]) -> dict[str, Any]:
    """Configuration field -> value, as far as shapes of a tower's tensors tell it; empty where they are no such tower's."""
    try:
        return _vit_sizes(shapes) if tower == "vit" else _convnext_sizes(shapes)
    except (KeyError, IndexError):
        return {}


def square_side(positions: int) -> int | None:
    """Patches a side of a ViT with that many positions, the class token's included; None where they are no square."""
    side = math.isqrt(max(positions - 1, 0))
    return side if side and side**2 + 1 == positions else None


def inner_ratio(inner: int, width: int) -> float:
    """The `vit.mlp_ratio` that gives the width `inner`, which is the whole part of a product."""
    return inner / width if int(width * (inner / width)) == inner else (inner + 0.5) / width


def _vit_sizes(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    width, patch = shapes["class_embedding"][-1], shapes["conv1.weight"][-1]
    side = square_side(shapes[POSITIONS][-2])
    sizes = {
        "vit.width": width,
        "vit.layers": _numbers(r"transformer\.resblocks\.(\d+)\.ln_1\.weight", shapes),
        "vit.mlp_ratio": inner_ratio(shapes["transformer.resblocks.0.mlp.c_fc.weight"][0], width),
        "geometry.patch": patch,
    }
    return sizes if side is None else sizes | {"geometry.tile": side * patch}


def _convnext_sizes(shapes: Mapping[str, Shape]) -> dict[str, Any]:
    first = [f"stages.{stage}.blocks.0" for stage in range(4)]
    return {
        "convnext.depths": tuple(_numbers(rf"stages\.{stage}\.blocks\.(\d+)\.norm\.weight", shapes) for stage in range(4)),
        "convnext.dims": tuple(shapes[f"{block}.norm.weight"][0] for block in first),
        "convnext.conv_mlp": len(shapes[f"{first[0]}.mlp.fc1.weight"]) == 4,
    }


def _numbers(pattern: str, names: Mapping[str, Shape]) -> int:
    return sum(re.fullmatch(pattern, name) is not None for name in names)
