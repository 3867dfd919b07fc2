"""The linear maps of a run's language model, as far as they are known without building it, and which of them get adapters."""

from __future__ import annotations

from pathlib import Path

from fila_lab.config.base import ConfigError
from fila_lab.config.language import LanguageConfig
from fila_lab.config.language_folder import named_folder, stored_files
from fila_lab.config.lora import check_targets, matched
from fila_lab.config.weight_headers import stored_shapes
from fila_lab.config.weights import weights_file

Sizes = tuple[int, int]
"""Inputs and outputs of a linear map."""


def linear_maps(language: LanguageConfig) -> dict[str, Sizes]:
    """Name -> sizes of the maps in a Llama or Qwen2 of these numbers, the head left out."""
    width, inner = language.width, language.intermediate
    keys = (language.kv_heads or language.heads) * (width // language.heads)
    layer = {
        "self_attn.q_proj": (width, width),
        "self_attn.k_proj": (width, keys),
        "self_attn.v_proj": (width, keys),
        "self_attn.o_proj": (width, width),
        "mlp.gate_proj": (width, inner),
        "mlp.up_proj": (width, inner),
        "mlp.down_proj": (inner, width),
    }
    return {f"model.layers.{number}.{name}": sizes for number in range(language.layers) for name, sizes in layer.items()}


def adapted_maps(language: LanguageConfig) -> dict[str, Sizes]:
    """Those that get adapters; none without `language.lora`."""
    maps = linear_maps(language)
    return {} if language.lora is None else {name: maps[name] for name in matched(language.lora, maps)}


def check_lora(language: LanguageConfig) -> None:
    """Refuse adapters that could not train, and targets that name no linear map of the model, where its maps are known: built from
    numbers, or told by the headers of its folder. Of other models they are known when they are loaded.

    Raises:
        ConfigError: field, value and remedy.
    """
    if language.lora is None:
        return
    if not language.trainable:
        raise ConfigError(
            "language.lora trains adapters beside frozen weights, but language.trainable = false leaves nothing of the language model to "
            "train; set language.trainable=true, or language.lora=null"
        )
    if language.weights == "random" or weights_file(language.weights) is not None:
        check_targets(language.lora, linear_maps(language), f"a {language.architecture}")
    elif (folder := named_folder("language.weights", language.weights)) is not None and (maps := _stored_maps(folder)):
        check_targets(language.lora, maps, f"language.weights = {language.weights!r}")


def _stored_maps(folder: Path) -> list[str]:
    """Names of a folder's matrices, embeddings and heads among them: which are linear maps, only the class can tell."""
    found = []
    for path in stored_files(folder):
        try:
            shapes = stored_shapes("language.weights", path)
        except ConfigError:
            return []  # damaged files are the matter of `check_language`
        if shapes is None:
            return []
        found += [name.removesuffix(".weight") for name, shape in shapes.items() if name.endswith(".weight") and len(shape) == 2]
    return found
