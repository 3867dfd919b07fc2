"""Tiny models of the laboratory, and questions about pictures, asked in its way and in transformers'."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from fila_lab.config import RunConfig, resolve_run
from fila_lab.data.prompt import Dialogue
from fila_lab.data.suite import Turn
from fila_lab.hub import FilaProcessor
from fila_lab.imaging import prepare
from fila_lab.modeling import FilaModel, VisionBatch, build_model
from fila_lab.training.features import needs_detail
from fila_lab.training.texts import Texts

torch.set_num_threads(1)
SMALL: dict[str, Any] = {
    **{f"{part}.weights": "random" for part in ("vit", "convnext", "language")},
    **{"vit.width": 32, "vit.layers": 6, "vit.heads": 4, "convnext.depths": [1, 1, 1, 1], "convnext.dims": [8, 8, 16, 16]},
    **{"language.tokenizer": "characters", "language.width": 32, "language.layers": 2, "language.intermediate": 64},
    "runtime.precision": "fp32",
}


def small(**overrides: Any) -> RunConfig:
    """A tiny run; keywords are dotted paths with `__` for the dot."""
    return resolve_run("mini", SMALL, {key.replace("__", "."): value for key, value in overrides.items()})


def make_model(**overrides: Any) -> FilaModel:
    """A tiny model whose every weight matters: fusions begin as identities, and here they are past their beginning."""
    model = build_model(small(**overrides)).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in [*model.encoder.fusions.parameters(), *model.language.parameters()]:
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)
    return model


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Noise, in which every pixel matters."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


PICTURES = [picture(84, 84), picture(160, 50, 1), picture(40, 130, 2)]
"""On three canvases."""
QUESTIONS = ["red?", "What is written?", "B"]


def asked(model: FilaModel, image: Image.Image, question: str) -> VisionBatch:
    """A question about an image as the laboratory asks it."""
    prepared = prepare(image, model.config.geometry, detail=needs_detail(model.config))
    texts = Texts(model.tokenizer, model.config.language)([Dialogue((Turn(question, ()),))], answered=False)
    return VisionBatch.of(
        prepared.geometry.layout,
        texts.ids,
        texts.prompt_lengths,
        image_at=texts.image_at,
        tiles=prepared.tiles[None],
        overview=prepared.overview[None],
        detail=None if prepared.detail is None else prepared.detail[None],
    )


def conversation(image: Any, question: str) -> list[dict[str, Any]]:
    """The same as transformers' messages."""
    return [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": question}]}]


def inputs_of(processor: FilaProcessor, images: list[Any], questions: list[str]) -> Any:
    """Several conversations of one question each, as one batch."""
    return processor.apply_chat_template(
        [conversation(image, question) for image, question in zip(images, questions, strict=True)],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True},
    )
