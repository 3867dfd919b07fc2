"""Names of a run's parameters that can train, as far as they are known without building its model; a test compares them with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from fila_lab.config.base import ConfigError
from fila_lab.config.fusion_points import feature_index, resolve_fusion_points
from fila_lab.config.language import LanguageConfig
from fila_lab.config.language_folder import language_sizes
from fila_lab.config.lora_maps import adapted_maps, linear_maps
from fila_lab.config.projector import ProjectorConfig
from fila_lab.config.run import RunConfig
from fila_lab.config.stages import PREFIXES, Part
from fila_lab.config.strategies import has_convnext, has_vit
from fila_lab.config.tower_shapes import tower_shapes
from fila_lab.config.weights import weights_file


@dataclass(frozen=True)
class Known:
    """What is known of a part's names. sure: parameters that it has; perhaps: that it may have besides; below: how further names begin."""

    sure: tuple[str, ...] = ()
    perhaps: tuple[str, ...] = ()
    below: tuple[str, ...] = ()


def parameter_names(config: RunConfig) -> Mapping[Part, Known]:
    """Part -> its names; nothing of a part that the run does not have. A strategy's own names, and those of a language model of another
    class than Llama's and Qwen2's, only the model can tell.

    Raises:
        ConfigError: a language model's folder that is not there.
    """
    names = [f"encoder.convnext.trunk.{name}" for name in tower_shapes("convnext", config)] if has_convnext(config) else []
    return {
        "vit": Known(tuple(_vit(config))),
        "convnext": Known(tuple(names)),
        "fusion": Known(below=tuple(_fusions(config))),
        "projector": Known(tuple(_connector(config))),
        "language": _language(config.language),
    }


def _vit(config: RunConfig) -> list[str]:
    """Layers after the feature layer are never run, and never train."""
    if not has_vit(config):
        return []
    used = feature_index(config.vit.feature_layer, config.vit.layers)
    idle = [f"transformer.resblocks.{layer}." for layer in range(used, config.vit.layers)]
    idle += ["ln_post."] if used < config.vit.layers else []
    return [f"encoder.vit.trunk.{name}" for name in tower_shapes("vit", config) if not name.startswith(tuple(idle))]


def _fusions(config: RunConfig) -> list[str]:
    """How the names at each fusion point begin: its layer, with the stage where several share the layer."""
    if config.fusion.name == "none":
        return []
    points = resolve_fusion_points(config.fusion.depth, config.vit.layers, config.vit.feature_layer)
    layers = [layer for _, layer in points]
    return [f"{PREFIXES['fusion'][0]}{layer}{'' if layers.count(layer) == 1 else f'_{stage}'}." for stage, layer in points]


def _connector(config: RunConfig) -> list[str]:
    own = _projector(config.projector)
    handoff = [f"handoff.{name}" for name in own] if config.fusion.handoff == "append" else []
    return [*own, "separator.separator", *handoff]


def _projector(config: ProjectorConfig) -> list[str]:
    layers = {"linear": ("",), "pixel_shuffle": (".0", ".1", ".3")}.get(config.kind, (".0", ".2"))
    return [f"projector{layer}.{name}" for layer in layers for name in ("weight", "bias")]


def _language(language: LanguageConfig) -> Known:
    """Heads may be tied, and maps of a checkpoint's class have biases where its configuration says so."""
    if not _class_is_known(language):
        return Known(below=PREFIXES["language"])
    if language.lora is not None:
        return Known(tuple(f"language.{name}.lora_{side}.default.weight" for name in adapted_maps(language) for side in "AB"))
    maps = linear_maps(language)
    norms = [f"model.layers.{layer}.{name}" for layer in range(language.layers) for name in ("input_layernorm", "post_attention_layernorm")]
    weights = ["model.embed_tokens", *maps, *norms, "model.norm"]
    perhaps = ("language.lm_head.weight", *(f"language.{name}.bias" for name in maps))
    return Known(tuple(f"language.{name}.weight" for name in weights), perhaps)


def _class_is_known(language: LanguageConfig) -> bool:
    if language.weights == "random" or weights_file(language.weights) is not None:
        return True
    try:
        told = language_sizes(language.weights).get("language.architecture")
    except ConfigError:  # the matter of `check_language`
        return False
    return told in get_args(LanguageConfig.model_fields["architecture"].annotation)
