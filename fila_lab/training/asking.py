"""How a model is asked where its answers are scored: in the template's words, and with a frozen ConvNeXt's maps as training read them."""

from __future__ import annotations

from dataclasses import replace

from fila_lab.data.prompt import Prompt
from fila_lab.modeling import FilaModel, VisionBatch
from fila_lab.modeling.generation import Answer
from fila_lab.training.features import frozen_maps


def with_frozen_maps(model: FilaModel, vision: VisionBatch) -> VisionBatch:
    """The batch with the maps of the model's ConvNeXt, computed now where no cache has them, in the cache's rounding."""
    tower = model.encoder.convnext
    if vision.detail is None or tower is None:
        return vision
    return replace(vision, maps=frozen_maps(tower, vision.detail, model.config, vision.rows, vision.cols), detail=None)


def answered(model: FilaModel, prompt: Prompt, vision: VisionBatch) -> list[Answer]:
    """The answers to a batch of prompts, without what the run's template puts around them."""
    given = model.answer(vision, model.config.language.answer_tokens, prompt.ends)
    return [answer._replace(text=prompt.said(answer.text)) for answer in given]
