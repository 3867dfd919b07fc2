"""Which tiling an image processor has, by the name of its class, and how large the tokens of its model are."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from fila_lab.config.base import FilaError
from fila_lab.hub.audit.tilings.base import Settings, Tiling
from fila_lab.hub.audit.tilings.idefics3 import Idefics3
from fila_lab.hub.audit.tilings.internvl import InternVL
from fila_lab.hub.audit.tilings.llava_next import LlavaNext
from fila_lab.hub.audit.tilings.single import Single

FAMILIES: dict[str, Callable[[Settings, int], Tiling]] = {
    "LlavaNextImageProcessor": LlavaNext.of,
    "GotOcr2ImageProcessor": InternVL.of,
    "Idefics3ImageProcessor": Idefics3.of,
    "SmolVLMImageProcessor": Idefics3.of,
    "CLIPImageProcessor": Single.of,
    "SiglipImageProcessor": Single.of,
    "LlavaImageProcessor": Single.of,
    "Gemma3ImageProcessor": Single.of,
}
"""Class of an image processor (its Pillow twin, `...Pil`, and its older names `...Fast` with it) -> its tiling."""


def tiling_of(processor: Any, config: Any) -> Tiling:
    """The tiling of a model, from its processor and its config.

    Raises:
        FilaError: neither is one that the audit knows, or they have settings for which it has no geometry.
    """
    if getattr(processor, "image_processor", None) is None:
        raise FilaError(f"{type(processor).__name__} has no image processor; the audit needs a model that takes images and text")
    settings = Settings(processor)
    family = settings.name.removesuffix("Pil").removesuffix("Fast")
    if family not in FAMILIES:
        raise FilaError(
            f"{settings.name}: where this image processor cuts images is not known to the audit, which knows {', '.join(FAMILIES)}; "
            "choose a model with one of these"
        )
    return FAMILIES[family](settings, token_side(config))


def token_side(config: Any) -> int:
    """Canvas px along a side of what one visual token stands for: the ViT's patch, times the patches that are merged along a side.

    Raises:
        FilaError: the config does not say the ViT's patch.
    """
    vision = getattr(config, "vision_config", None)
    patch, image = (_side(getattr(vision, field, None)) for field in ("patch_size", "image_size"))
    if patch is None:
        raise FilaError(f"{type(config).__name__} does not say vision_config.patch_size; the audit needs a model whose ViT has patches")
    if (ratio := getattr(config, "downsample_ratio", None)) is not None:  # InternVL
        return round(patch / ratio)
    if (tokens := getattr(config, "mm_tokens_per_image", None)) is not None and image is not None:  # Gemma 3
        return image // math.isqrt(tokens)
    merged = getattr(config, "scale_factor", None) or getattr(config, "downsample_factor", None) or 1  # Idefics3; Aya Vision
    return patch * int(merged)


def _side(value: Any) -> int | None:
    if value is None:
        return None
    return int(value[0]) if isinstance(value, list | tuple) else int(value)
