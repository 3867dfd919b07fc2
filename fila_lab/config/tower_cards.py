"""What the JSON files beside published weights say of a tower: open_clip's, timm's and transformers' configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fila_lab.config.base import ConfigError
from fila_lab.config.library_tags import timm_sizes, timm_vit_sizes
from fila_lab.config.tower_shapes import inner_ratio

Channels = tuple[float, ...]
Statistics = tuple[Channels, Channels]
"""Mean and standard deviation of red, green and blue, of pixels between 0 and 1."""
CLIP: Statistics = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
"""Those of CLIP, and of towers whose source says none."""

EXAMPLES = {"vit": "open_clip:ViT-L-14-336/openai", "convnext": "timm:convnext_base.clip_laion2b"}
"""Tower -> weights that are published for it."""
_KINDS = {"vit": "ViT", "convnext": "ConvNeXt"}
_NORM_EPS = 1e-5
"""Of the norms of CLIP's ViTs."""
_OTHERWISE = (
    *("ls_init_value", "no_ln_pre", "final_ln_after_pool", "attentional_pool", "act_kwargs", "norm_kwargs", "qk_norm"),
    *("scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc"),
)
"""What open_clip's ViTs can have, and the tower here has not."""


class Told(NamedTuple):
    """What a source says of its tower: configuration field -> value, and the statistics of its pixels where it says them."""

    fields: dict[str, Any]
    statistics: Statistics | None = None


def open_clip_told(tower: str, field: str, card: Mapping[str, Any]) -> Told:
    """Of open_clip_config.json, or of one of the library's own model configurations.

    Args:
        field: what messages begin with.

    Raises:
        ConfigError: a model whose tower is of another kind.
    """
    model = _mapping(card.get("model_cfg")) or card
    vision, pixels = _mapping(model.get("vision_cfg")), _mapping(card.get("preprocess_cfg"))
    statistics = _statistics(pixels.get("mean"), pixels.get("std"))
    if tower == "convnext":
        sizes = timm_sizes(str(vision.get("timm_model_name")))
        if not sizes:
            raise no_tower(tower, field)
        return Told(sizes, statistics)
    if "timm_model_name" in vision or not isinstance(vision.get("layers"), int):
        raise no_tower(tower, field)
    for name in _OTHERWISE:
        if vision.get(name):
            raise no_tower(tower, field, f" ({name})")
    try:
        side = vision.get("image_size", 224)
        fields = {
            "vit.width": int(vision["width"]),
            "vit.layers": vision["layers"],
            "vit.heads": int(vision["width"]) // int(vision.get("head_width", 64)),
            "vit.mlp_ratio": float(vision.get("mlp_ratio", 4.0)),
            "vit.quick_gelu": bool(model.get("quick_gelu", False)),
            "geometry.patch": int(vision["patch_size"]),
            "geometry.tile": int(side if isinstance(side, int) else side[0]),
        }
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError):
        raise no_tower(tower, field) from None
    return Told(fields, statistics)


def clip_told(tower: str, field: str, card: Mapping[str, Any], pixels: Mapping[str, Any]) -> Told:
    """Of transformers' config.json of a CLIPModel or CLIPVisionModel, and preprocessor_config.json beside it.

    Raises:
        ConfigError: as `open_clip_told`.
    """
    vision = _mapping(card.get("vision_config")) if card.get("model_type") == "clip" else card
    if tower != "vit":
        raise no_tower(tower, field)
    image = _mapping(pixels.get("image_processor")) or pixels
    activation = vision.get("hidden_act", "quick_gelu")
    if activation not in ("quick_gelu", "gelu"):
        raise no_tower(tower, field, f" (hidden_act {activation})")
    if vision.get("layer_norm_eps", _NORM_EPS) != _NORM_EPS:
        raise no_tower(tower, field, f" (layer_norm_eps {vision['layer_norm_eps']})")
    try:  # transformers leaves out what is its class's default: those of CLIP ViT-B/32
        width = int(vision.get("hidden_size", 768))
        fields = {
            "vit.width": width,
            "vit.layers": int(vision.get("num_hidden_layers", 12)),
            "vit.heads": int(vision.get("num_attention_heads", 12)),
            "vit.mlp_ratio": inner_ratio(int(vision.get("intermediate_size", 3072)), width),
            "vit.quick_gelu": activation == "quick_gelu",
            "geometry.patch": int(vision.get("patch_size", 32)),
            "geometry.tile": int(vision.get("image_size", 224)),
        }
    except (TypeError, ValueError, ZeroDivisionError):
        raise no_tower(tower, field) from None
    return Told(fields, _statistics(image.get("image_mean"), image.get("image_std")))


def timm_told(tower: str, field: str, card: Mapping[str, Any]) -> Told:
    """Of timm's config.json.

    Raises:
        ConfigError: as `open_clip_told`.
    """
    model, pixels = str(card.get("architecture")), _mapping(card.get("pretrained_cfg"))
    fields = timm_sizes(model) if tower == "convnext" else timm_vit_sizes(model)
    if not fields:
        raise no_tower(tower, field, f" ({model})")
    return Told(fields, _statistics(pixels.get("mean"), pixels.get("std")))


def no_tower(tower: str, field: str, why: str = "") -> ConfigError:
    """What to say of weights of another kind than a tower's."""
    return ConfigError(f"{field} is no {_KINDS[tower]} of the kind that is read here{why}; choose another, e.g. {EXAMPLES[tower]}")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _statistics(mean: Any, std: Any) -> Statistics | None:
    try:
        (r, g, b), (x, y, z) = map(float, mean), map(float, std)
    except (TypeError, ValueError):
        return None
    return (r, g, b), (x, y, z)
