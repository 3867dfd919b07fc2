"""What is measured: an arm's model with random weights, and synthetic images for it to see.

Costs depend on shapes, not on what weights and pixels say: nothing needs to be downloaded, and no data is read.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import PreTrainedModel

from fila_lab.config.counts import STRIDES, detail_size
from fila_lab.config.geometry import Size
from fila_lab.config.run import RunConfig
from fila_lab.config.seam_words import ORACLE_CHANNELS
from fila_lab.config.strategies import has_convnext
from fila_lab.config.tiling import seen_canvases, tile_layout
from fila_lab.config.vocabulary import OWN, VOCABULARY
from fila_lab.cost.closed.parts import text_tokens
from fila_lab.modeling import FilaModel, VisionBatch, build_model
from fila_lab.modeling.language import weights_dtype


def largest_canvas(config: RunConfig) -> Size:
    """Of the canvases on which the ViT sees the suite's pages the largest, (width, height); the first of equals."""
    return max(seen_canvases(config), key=lambda size: size[0] * size[1])


def randomly_weighted(config: RunConfig) -> RunConfig:
    """The same arm without files: random weights everywhere, and a tokenizer of our own (build_subject mends another's vocabulary)."""
    tokenizer = config.language.tokenizer if config.language.tokenizer in OWN else "characters"
    parts: dict[str, Any] = {
        "vit": config.vit.model_copy(update={"weights": "random"}),
        "convnext": config.convnext.model_copy(update={"weights": "random"}),
        "language": config.language.model_copy(update={"weights": "random", "tokenizer": tokenizer}),
    }
    return config.model_copy(update=parts)


def build_subject(config: RunConfig, device: str = "cpu") -> FilaModel:
    """The arm's model with random weights, in the arm's real sizes: `none` and `oracle_map` have no ConvNeXt.

    device: "meta" builds shapes only. A language model that the run would load gets its numbers from the configuration and its usual
    vocabulary (config.vocabulary.VOCABULARY), with embeddings tied where the loaded one ties them.
    """
    with torch.device(device):
        model = build_model(randomly_weighted(config))
        language = config.language
        if language.tokenizer not in OWN:
            words, kind = VOCABULARY[language.architecture], weights_dtype(language)
            embedding = nn.Embedding(words, language.width, dtype=kind)
            head = nn.Linear(language.width, words, bias=False, dtype=kind)
            if language.architecture == "qwen2" and language.weights != "random":
                head.weight = embedding.weight
            model.language.set_input_embeddings(embedding)
            model.language.set_output_embeddings(head)
            model.language.config.vocab_size = words
            for part in (embedding, head):
                part.requires_grad_(language.weights_train)
    return model


def build_vision(config: RunConfig, shared: dict[Hashable, nn.Module]) -> FilaModel:
    """The arm's model with a real encoder and projector and a language model of shapes alone: `see` runs, `forward` does not.

    `shared` holds towers that other arms have too: time and memory depend on shapes, so one copy serves all.
    """
    device = device_of(config)
    model = build_subject(config, "meta").eval()
    encoder, geometry = model.encoder, config.geometry
    if encoder.vit is not None:
        encoder.vit = shared.setdefault(("vit", config.vit, geometry.tile, geometry.patch), encoder.vit)  # type: ignore[assignment]
    if encoder.convnext is not None:
        encoder.convnext = shared.setdefault(("convnext", config.convnext), encoder.convnext)  # type: ignore[assignment]
    for part in (encoder, model.projector, model.separator):
        materialise(part, device)
    if encoder.convnext is not None:
        encoder.convnext.to(memory_format=torch.channels_last)
    return model


def build_language_subject(config: RunConfig, layers: int) -> PreTrainedModel:
    """The run's language model with `layers` of its layers, random weights."""
    part = config.language.model_copy(update={"layers": layers})
    small = config.model_copy(update={"language": part, "fusion": config.fusion.model_copy(update={"name": "none", "control": None})})
    language = build_subject(small, "meta").language.eval()
    return materialise(language, device_of(config))


Module = TypeVar("Module", bound=nn.Module)


def materialise(module: Module, device: str) -> Module:
    """Give a module built on the meta device memory: matrices of rows with unit expected length, norms of one, biases of zero.

    Tied weights stay tied. Modules with buffers (transformers' rotary embedding) compute them again from their configuration.
    """
    filled: dict[nn.Parameter, nn.Parameter] = {}
    for part in module.modules():
        for name, value in part.named_parameters(recurse=False):
            if value.is_meta:
                if value not in filled:
                    filled[value] = nn.Parameter(_noise(value, name, device), requires_grad=value.requires_grad)
                setattr(part, name, filled[value])
        if any(buffer.is_meta for buffer in part.buffers(recurse=False)):
            with torch.device(device):
                part.__init__(part.config)  # type: ignore[misc]
    return module


def _noise(value: torch.Tensor, name: str, device: str) -> torch.Tensor:
    fresh = torch.empty(value.shape, device=device)
    return fresh.normal_(std=value[0].numel() ** -0.5) if value.ndim > 1 else fresh.fill_(float("bias" not in name))


def synthetic_batch(config: RunConfig, images: int, canvas: Size | None = None, device: str = "cpu") -> VisionBatch:
    """`images` images of uint8 noise that fill one canvas (default: the largest), with a text each.

    An arm that has a ConvNeXt gets its detail input, `oracle_map` truth maps (empty, bfloat16 as in a cell's batches), `none` neither.
    """
    geometry = config.geometry
    width, height = canvas or largest_canvas(config)
    layout = tile_layout(geometry, (width, height))
    detail_width, detail_height = detail_size((width, height), geometry)
    oracle = config.fusion.control == "oracle_map"

    def noise(*shape: int) -> torch.Tensor:
        return torch.randint(0, 256, shape, dtype=torch.uint8, device=device)

    return VisionBatch.of(
        layout,
        torch.randint(3, 90, (images, text_tokens(config.language)), device=device),
        torch.full((images,), text_tokens(config.language) // 2, device=device),
        tiles=noise(images, layout.tiles, geometry.tile, geometry.tile, 3),
        overview=noise(images, geometry.tile, geometry.tile, 3),
        detail=noise(images, detail_height, detail_width, 3) if has_convnext(config) else None,
        oracle=[
            torch.zeros(images, ORACLE_CHANNELS, detail_height // stride, detail_width // stride, dtype=torch.bfloat16, device=device)
            for stride in STRIDES
        ]
        if oracle
        else None,
    )


def device_of(config: RunConfig) -> str:
    """Where the arm is measured: on the GPU it asks for, else on the CPU (so that large presets can be measured anywhere)."""
    return "cuda" if config.runtime.accelerator == "gpu" and torch.cuda.is_available() else "cpu"
