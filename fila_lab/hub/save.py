"""A trained model as a folder that transformers loads."""

from __future__ import annotations

import copy
from pathlib import Path

from fila_lab.config import FilaError
from fila_lab.config.files import set_usual_mode
from fila_lab.config.saved import mark_saved
from fila_lab.hub.convert import converted
from fila_lab.hub.images import FilaImageProcessor
from fila_lab.modeling import FilaModel
from fila_lab.modeling.lora import merged
from fila_lab.modeling.quiet import without_bars
from fila_lab.version import __version__

CLASSES = "fila_lab_classes"
"""Module in a saved folder through which transformers comes to the package's classes, where it is told to trust the folder's code."""
SHARD = "5GB"
"""Most that a file of weights holds."""
_CARD = """\
---
library_name: transformers
pipeline_tag: image-text-to-text
tags: [fila]
---
A vision-language model of fila_lab: a ViT on tiles, a ConvNeXt on the whole image, and a fusion (`{fusion}`) between them.

    import fila_lab
    fila_lab.load(".").answer("page.png", "What is written?")

or, with transformers:

    import fila_lab.hub  # makes the Auto classes know it
    from transformers import AutoModelForImageTextToText, AutoProcessor
    processor, model = AutoProcessor.from_pretrained("."), AutoModelForImageTextToText.from_pretrained(".")
    asked = [{{"role": "user", "content": [{{"type": "image", "path": "page.png"}}, {{"type": "text", "text": "What is written?"}}]}}]
    inputs = processor.apply_chat_template(asked, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt")
    print(processor.decode(model.generate(**inputs)[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))

Questions are put into words by the template `{template}`. The cell computed in {precision}: under the same autocast it answers alike.
"""


def save_model(model: FilaModel, folder: Path, cell: str = "") -> None:
    """Write a model into an empty folder, or a new one: weights, configurations, tokenizer, chat template, a card, and our mark. In the
    file, adapters are added into the weights they stand beside; the model keeps them.

    cell: id of the cell that it was trained as.

    Raises:
        FilaError: a model that reads truth maps, which only generated items have, or a folder with something in it.
        OSError: the folder cannot be written.
    """
    whole, processor = converted(model)
    if model.config.language.lora is not None:
        whole.language = merged(copy.deepcopy(model.language))
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FilaError(f"{folder} holds something already; give a new folder, or an empty one")
    names = [type(whole.config).__name__, type(whole).__name__, FilaImageProcessor.__name__, type(processor).__name__]
    whole.config.auto_map = {"AutoConfig": f"{CLASSES}.{names[0]}", "AutoModelForImageTextToText": f"{CLASSES}.{names[1]}"}
    processor.image_processor.auto_map = {"AutoImageProcessor": f"{CLASSES}.{names[2]}"}
    processor.auto_map = {"AutoProcessor": f"{CLASSES}.{names[3]}"}  # type: ignore[attr-defined]
    with without_bars():
        whole.save_pretrained(folder, max_shard_size=SHARD)
        processor.save_pretrained(folder)
    set_usual_mode(*folder.glob("*.safetensors"))
    said = '"""The classes of this model are those of the package fila_lab."""'
    (folder / f"{CLASSES}.py").write_text(f"{said}\n\nfrom fila_lab.hub import {', '.join(names)}\n", encoding="utf-8")
    config = model.config
    card = _CARD.format(fusion=config.fusion.name, template=config.language.template, precision=config.runtime.precision)
    (folder / "README.md").write_text(card, encoding="utf-8")
    mark_saved(folder, cell, __version__)
