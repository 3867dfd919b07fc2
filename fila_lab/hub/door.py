"""The short door: a saved model answers, and an encoder encodes, in one line each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fila_lab.config import ConfigError, FilaError, RunConfig, preset_names, resolve_run
from fila_lab.config.saved import holds_saved
from fila_lab.config.strategies import has_convnext, has_vit
from fila_lab.config.weight_index import indexed_files
from fila_lab.config.weights import TRAINED_PARTS
from fila_lab.hub.convert import converted, returned
from fila_lab.hub.images import opened
from fila_lab.hub.model import FilaForConditionalGeneration
from fila_lab.hub.processor import FilaProcessor
from fila_lab.imaging import prepare
from fila_lab.modeling import FilaModel, HybridEncoder, VisionBatch, build_convnext, build_vit
from fila_lab.modeling.precision import autocast
from fila_lab.modeling.quiet import without_bars
from fila_lab.training.questions import check_length, check_question
from fila_lab.training.trained import load_trained

Exchange = tuple[str, str]
"""A question and its answer."""


class Loaded:
    """A saved model with its processor, answering as the cell did: greedily, under the cell's autocast."""

    def __init__(self, model: FilaForConditionalGeneration, processor: FilaProcessor) -> None:
        self.model, self.processor = model, processor

    def answer(self, image: Any, question: str, history: Sequence[Exchange] = (), *, longest: int | None = None, **generation: Any) -> str:
        """What the model says to a question about an image.

        image: PIL, an array, a path, an URL, or None for a text alone; history: what was asked and answered about it before; longest: most
        tokens that these may have, by default all that the model has room for; generation: as `generate` takes it, e.g. max_new_tokens,
        num_beams; by default the cell's own.

        Raises:
            FilaError: an image that cannot be read, no question, a history that is no exchanges, or more tokens than that.
        """
        check_question(question)
        said = _exchanges(history)
        image = None if image is None else opened(image)
        messages = [turn for pair in said for turn in zip(("user", "assistant"), pair, strict=True)] + [("user", question)]
        conversation = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in messages]
        if image is not None:
            conversation[0]["content"].insert(0, {"type": "image", "image": image})  # type: ignore[attr-defined]
        inputs = self.processor.apply_chat_template(
            conversation, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        ).to(self.model.device)
        kept = int(generation.get("max_new_tokens") or self.model.generation_config.max_new_tokens or 0)
        seen = int((inputs["input_ids"] == self.processor.image_token_id).sum())
        check_length(inputs["input_ids"].shape[1] - seen, seen, kept, self.positions, longest)
        return self.generate(inputs, **generation)[0]

    @property
    def positions(self) -> int | None:
        """The most tokens that the language model reads; None where it tells no limit."""
        most = getattr(self.model.language.config.get_text_config(), "max_position_embeddings", None)
        return None if most is None else int(most)

    def generate(self, inputs: Any, **generation: Any) -> list[str]:
        """The answers to what the processor made, without what its template puts around them."""
        with torch.inference_mode(), autocast(self.model.encoder.config.runtime.precision, self.model.device.type):
            ids = self.model.generate(**inputs, **generation)
        new = ids[:, inputs["input_ids"].shape[1] :]
        return [self.processor.said(text) for text in self.processor.batch_decode(new, skip_special_tokens=True)]


def _exchanges(history: Any) -> list[Exchange]:
    """What was asked and answered before. FilaError where it is anything else."""
    remedy = "give (question, answer) pairs, e.g. [('What is the total?', '41.20')]"
    if not isinstance(history, list | tuple):
        raise FilaError(f"history = {history!r} is no list; {remedy}")
    for number, pair in enumerate(history):
        if not (isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            raise FilaError(f"history[{number}] = {pair!r} is no question with its answer; {remedy}")
    return [(question, answer) for question, answer in history]


def _folder(argument: str, value: Any) -> Path:
    if not isinstance(value, str | Path):
        raise FilaError(f"{argument} = {value!r} is no path; give the folder that `fila-lab save` wrote, or that of a trained cell")
    return Path(value)


def load(folder: str | Path, device: str | None = None, **options: Any) -> Loaded:
    """A folder of `fila-lab save`, or a trained cell's, ready to answer.

    device: e.g. `cuda`; options: of a saved model, as `from_pretrained` takes them, e.g. dtype.
    Raises:
        FilaError: no such folder, or one that holds no model, or lacks tensors of it.
    """
    path = _folder("folder", folder)
    if is_cell(path):
        if options:
            raise ConfigError(f"{', '.join(options)}: {str(folder)!r} is a cell, whose model is as it was trained; save it first")
        return _placed(*converted(load_trained(path)), device)
    if not holds_saved(path):
        what = "holds no saved model (config.json)" if path.is_dir() else "is no folder"
        raise FilaError(f"{str(folder)!r} {what}; give a folder that `fila-lab save` wrote, or that of a trained cell")
    for index in sorted(path.glob("*.index.json")):
        indexed_files(repr(str(folder)), index)  # transformers opens whatever it names
    try:
        with without_bars():
            processor = FilaProcessor.from_pretrained(path)
            model = FilaForConditionalGeneration.from_pretrained(path, **options)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FilaError(f"{str(folder)!r} cannot be loaded as a saved model ({first}); save the cell again with `fila-lab save`") from error
    return _placed(model, processor, device)


def _placed(model: Any, processor: FilaProcessor, device: str | None) -> Loaded:
    return Loaded(model if device is None else model.to(device), processor)


def laboratory_model(folder: Path) -> FilaModel:
    """The model of a folder of `fila-lab save` as the laboratory's verbs ask it, on a GPU where there is one. FilaError as `load`."""
    loaded = load(folder, "cuda" if torch.cuda.is_available() else None)
    return returned(loaded.model, loaded.processor)


def is_cell(folder: Path) -> bool:
    """Whether a folder is a trained cell's."""
    return (folder / TRAINED_PARTS).is_file() and not holds_saved(folder)


class Encoder:
    """A hybrid encoder that takes images."""

    def __init__(self, config: RunConfig, encoder: HybridEncoder) -> None:
        self.config, self.module = config, encoder.eval()

    @torch.inference_mode()
    def encode(self, image: Any) -> Tensor:
        """An image (PIL, an array, a path, an URL) -> its visual tokens before the projector, [V, D_vit]: the overview's g*g, then the
        canvas's in raster order."""
        prepared = prepare(opened(image), self.config.geometry, detail=has_convnext(self.config))
        device = next(self.module.parameters()).device
        nothing = torch.zeros(1, 0, dtype=torch.long)
        batch = VisionBatch.of(
            prepared.geometry.layout,
            nothing,
            nothing.sum(1),
            overview=prepared.overview[None],
            tiles=prepared.tiles[None],
            detail=None if prepared.detail is None else prepared.detail[None],
        )
        with autocast(self.config.runtime.precision, device.type):
            return self.module(batch.to(device))[0]


def encoder(source: str | Path, **overrides: Any) -> Encoder:
    """The encoder of a preset (towers as it says, fusion as it begins), of a folder of `fila-lab save`, or of a trained cell's folder.

    overrides: of a preset, dotted paths with `__` for the dot, e.g. vit__weights="random".
    Raises:
        FilaError: none of these, or weights that are not to be had.
    """
    path = _folder("source", source)
    if path.is_dir():
        if overrides:
            raise ConfigError(f"{', '.join(overrides)}: {str(source)!r} is trained, and stays as it is; overrides are for presets")
        if is_cell(path):
            model = load_trained(path)
            return Encoder(model.config, model.encoder)
        loaded = load(path).model
        return Encoder(loaded.encoder.config, loaded.encoder)
    if str(source) not in preset_names() and path.suffix not in (".yaml", ".yml"):
        known = ", ".join(preset_names())
        raise ConfigError(f"{str(source)!r} is neither a folder nor a preset; choose {known}, or a saved model's folder")
    config = resolve_run(str(source), {name.replace("__", "."): value for name, value in overrides.items()})
    towers = build_vit(config) if has_vit(config) else None, build_convnext(config) if has_convnext(config) else None
    return Encoder(config, HybridEncoder(config, *towers))
