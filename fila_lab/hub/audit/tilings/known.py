"""Which tiling an image processor has, by the name of its class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fila_lab.config.base import FilaError
from fila_lab.hub.audit.tilings.base import Settings, Tiling
from fila_lab.hub.audit.tilings.fila import Fila
from fila_lab.hub.audit.tilings.idefics3 import Idefics3
from fila_lab.hub.audit.tilings.internvl import InternVL
from fila_lab.hub.audit.tilings.llava_next import LlavaNext
from fila_lab.hub.audit.tilings.single import Single

FAMILIES: dict[str, Callable[[Settings, Any], Tiling]] = {
    "LlavaNextImageProcessor": LlavaNext.of,
    "GotOcr2ImageProcessor": InternVL.of,
    "Idefics3ImageProcessor": Idefics3.of,
    "SmolVLMImageProcessor": Idefics3.of,
    "CLIPImageProcessor": Single.of,
    "SiglipImageProcessor": Single.of,
    "LlavaImageProcessor": Single.of,
    "Gemma3ImageProcessor": Single.of,
    "FilaImageProcessor": Fila.of,
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
    return FAMILIES[family](settings, config)
