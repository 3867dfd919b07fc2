"""What is measured: an arm's model with random weights, and synthetic images for it to see.

Costs depend on shapes, not on what weights and pixels say: nothing needs to be downloaded, and no data is read.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from fila_lab.config.part_costs import ORACLE_CHANNELS, TEXT_TOKENS, VOCABULARY, detail_size
from fila_lab.config.run import RunConfig, Size
from fila_lab.modeling import FilaModel, VisionBatch, build_model

STRIDES = (4, 8, 16, 32)


def largest_canvas(config: RunConfig) -> Size:
    """The allowed canvas of the most tiles, (width, height); the first of equals."""
    return max(config.geometry.canvases, key=lambda size: size[0] * size[1])


def randomly_weighted(config: RunConfig) -> RunConfig:
    """The same arm without files: random weights everywhere, and the character tokenizer (build_subject mends the vocabulary)."""
    parts: dict[str, Any] = {
        "vit": config.vit.model_copy(update={"weights": "random"}),
        "convnext": config.convnext.model_copy(update={"weights": "random"}),
        "language": config.language.model_copy(update={"weights": "random", "tokenizer": "characters"}),
    }
    return config.model_copy(update=parts)


def build_subject(config: RunConfig, device: str = "cpu", oracle_channels: int = ORACLE_CHANNELS) -> FilaModel:
    """The arm's model with random weights, in the arm's real sizes: `none` and `oracle_map` have no ConvNeXt.

    device: "meta" builds shapes only. A language model that the run would load gets its numbers from the configuration and its usual
    vocabulary (config.costs.VOCABULARY), with embeddings tied where the loaded one ties them.
    """
    with torch.device(device):
        model = build_model(randomly_weighted(config), oracle_channels=oracle_channels)
        language = config.language
        if language.tokenizer != "characters":
            words = VOCABULARY[language.architecture]
            embedding, head = nn.Embedding(words, language.width), nn.Linear(language.width, words, bias=False)
            if language.architecture == "qwen2" and language.weights != "random":
                head.weight = embedding.weight
            model.language.set_input_embeddings(embedding)
            model.language.set_output_embeddings(head)
            for part in (embedding, head):
                part.requires_grad_(language.trainable)
    return model


def synthetic_batch(
    config: RunConfig, images: int, canvas: Size | None = None, device: str = "cpu", oracle_channels: int = ORACLE_CHANNELS
) -> VisionBatch:
    """`images` images of uint8 noise on one canvas (default: the largest), with TEXT_TOKENS tokens of text each.

    An arm that has a ConvNeXt gets its detail input, `oracle_map` truth maps (empty, bfloat16 as in a cell's batches), `none` neither.
    """
    geometry = config.geometry
    width, height = canvas or largest_canvas(config)
    rows, cols = height // geometry.tile, width // geometry.tile
    detail_width, detail_height = detail_size((width, height), geometry)
    fused = config.fusion.name != "none"
    oracle = config.fusion.control == "oracle_map"

    def noise(*shape: int) -> torch.Tensor:
        return torch.randint(0, 256, shape, dtype=torch.uint8, device=device)

    return VisionBatch(
        tiles=noise(images, rows * cols, geometry.tile, geometry.tile, 3),
        overview=noise(images, geometry.tile, geometry.tile, 3),
        rows=rows,
        cols=cols,
        input_ids=torch.randint(3, 90, (images, TEXT_TOKENS), device=device),
        prompt_lengths=torch.full((images,), TEXT_TOKENS // 2, device=device),
        detail=noise(images, detail_height, detail_width, 3) if fused and not oracle else None,
        oracle=[
            torch.zeros(images, oracle_channels, detail_height // stride, detail_width // stride, dtype=torch.bfloat16, device=device)
            for stride in STRIDES
        ]
        if oracle
        else None,
    )


def device_of(config: RunConfig) -> str:
    """Where the arm is measured: on the GPU it asks for, else on the CPU (so that large presets can be measured anywhere)."""
    return "cuda" if config.runtime.accelerator == "gpu" and torch.cuda.is_available() else "cpu"


def autocast(config: RunConfig, device: str) -> torch.autocast:
    """The arm's precision."""
    return torch.autocast(device, torch.bfloat16, enabled=config.runtime.precision == "bf16")
