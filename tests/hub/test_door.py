"""The short door: `fila_lab.load(...).answer(...)` and `fila_lab.encoder(...).encode(...)`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_models import PICTURES, QUESTIONS, SMALL, asked, make_model

import fila_lab
from fila_lab.config import FilaError
from fila_lab.config.weights import TRAINED_PARTS
from fila_lab.data.prompt import Dialogue
from fila_lab.data.suite import Turn
from fila_lab.hub import save_model
from fila_lab.training.trained import save_trained

RANDOM = {name.replace(".", "__"): value for name, value in SMALL.items()}


@pytest.mark.slow
def test_answers_under_the_cell_s_precision(tmp_path: Path) -> None:
    from fila_lab.modeling.precision import autocast

    model = make_model(runtime__precision="bf16")
    save_model(model, tmp_path / "out")
    with autocast("bf16"):
        wanted = [model.generate(asked(model, image, question), 32)[0] for image, question in zip(PICTURES, QUESTIONS, strict=True)]
    loaded = fila_lab.load(tmp_path / "out")
    assert [loaded.answer(image, question) for image, question in zip(PICTURES, QUESTIONS, strict=True)] == wanted


def test_earlier_turns_stand_before_the_question(folder: Path) -> None:
    loaded = fila_lab.load(folder)
    said = []
    generate = type(loaded.model).generate
    loaded.model.generate = lambda **inputs: said.append(inputs) or generate(loaded.model, **inputs)  # type: ignore[method-assign]
    loaded.answer(PICTURES[0], "And?", [("red?", "AB")], max_new_tokens=3)
    dialogue = Dialogue((Turn("red?", ("AB",)), Turn("And?", ())))
    (wanted,) = loaded.processor.prompt.asking([dialogue])
    ids = said[0]["input_ids"][0].tolist()
    assert [token for token in ids if token != loaded.processor.image_token_id] == wanted.ids
    assert said[0]["max_new_tokens"] == 3


def test_a_text_alone_is_answered_too(folder: Path) -> None:
    assert isinstance(fila_lab.load(folder).answer(None, "red?"), str)


def test_a_question_beyond_what_the_model_reads_is_refused(folder: Path) -> None:
    loaded = fila_lab.load(folder)
    loaded.model.language.config.max_position_embeddings = 90
    assert isinstance(loaded.answer(PICTURES[0], "red?"), str)
    with pytest.raises(FilaError, match=r"QUESTION has 80 tokens.*; at most \d+ are read \(the model has 90 positions.*shorten it"):
        loaded.answer(PICTURES[0], "r" * 80)
    with pytest.raises(FilaError, match=r"at most 8 are read"):
        loaded.answer(None, "red? red? red?", longest=8)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"question": ""}, "QUESTION is empty"),
        ({"question": 3}, "QUESTION = 3 is no text; ask for instance"),
        ({"history": "red?"}, r"history = 'red\?' is no list; give \(question, answer\) pairs"),
        ({"history": [("a",)]}, r"history\[0\] = \('a',\) is no question with its answer; give"),
        ({"history": [("a", "b"), ("a", "b", "c")]}, r"history\[1\] = \('a', 'b', 'c'\) is no question"),
        ({"history": ["ab"]}, r"history\[0\] = 'ab' is no question"),
        ({"history": [("a", None)]}, r"history\[0\] = \('a', None\)"),
    ],
)
def test_an_argument_of_another_kind_is_named(folder: Path, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(FilaError, match=words):
        fila_lab.load(folder).answer(**{"image": PICTURES[0], "question": "red?"} | arguments)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("gone.png", r"image 'gone\.png' does not exist"),
        (Path("gone.png"), r"image 'gone\.png' does not exist; check the path"),
        (3, "image is of type int; give a path, an URL, an image of PIL, or an array of pixels"),
        ({"bytes": b""}, "image is of type dict; give"),
        (np.zeros((4, 4, 7), np.uint8), r"image of shape \[4, 4, 7\] is none .*; give pixels"),
        (np.zeros(4), r"image of shape \[4\] is none"),
        ("http://127.0.0.1:9/x.png", r"image 'http://127\.0\.0\.1:9/x\.png' cannot be fetched"),
    ],
)
def test_what_is_no_image_is_refused_wherever_one_is_asked_for(folder: Path, image: Any, words: str) -> None:
    loaded = fila_lab.load(folder)
    encoder = fila_lab.encoder(folder)
    for ask in (lambda: loaded.answer(image, "red?"), lambda: encoder.encode(image)):
        with pytest.raises(FilaError, match=words):
            ask()


def test_an_encoder_s_tokens_are_the_hybrid_encoder_s(folder: Path, tmp_path: Path) -> None:
    model = make_model()
    with torch.no_grad():
        wanted = model.encoder(asked(model, PICTURES[1], "a"))[0]
    save_trained(model, model.config, tmp_path / "cell" / TRAINED_PARTS)
    for source in (folder, tmp_path / "cell"):
        found = fila_lab.encoder(source).encode(PICTURES[1])
        assert torch.equal(found, wanted)
    preset = fila_lab.encoder("mini", **RANDOM)
    tokens = preset.encode(PICTURES[1])
    assert tokens.shape == wanted.shape
    assert not torch.equal(tokens, wanted)  # its fusion is at its beginning
    assert torch.equal(tokens, fila_lab.encoder("mini", **RANDOM, fusion__name="none").encode(PICTURES[1]))


def test_what_holds_no_model_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FilaError, match="is no folder; give a folder"):
        fila_lab.load(tmp_path / "gone")
    with pytest.raises(FilaError, match="holds no saved model"):
        fila_lab.load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "fila"}', encoding="utf-8")
    with pytest.raises(FilaError, match="cannot be loaded as a saved model"):
        fila_lab.load(tmp_path)
    index = {"weight_map": {"encoder.a": "../elsewhere.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(FilaError, match=r"names '\.\./elsewhere\.safetensors', outside its folder"):
        fila_lab.load(tmp_path)
    for door in (fila_lab.load, fila_lab.encoder):
        with pytest.raises(FilaError, match="= None is no path; give the folder"):
            door(None)
    with pytest.raises(FilaError, match="neither a folder nor a preset"):
        fila_lab.encoder("minni")
    with pytest.raises(FilaError, match="stays as it is"):
        fila_lab.encoder(folder, seed=1)


FRESH = """
import sys
from transformers import AutoModelForImageTextToText, AutoProcessor
folder, image = sys.argv[1:]
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
model = AutoModelForImageTextToText.from_pretrained(folder, trust_remote_code=True)
asked = [{"role": "user", "content": [{"type": "image", "path": image}, {"type": "text", "text": "red?"}]}]
inputs = processor.apply_chat_template(asked, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt")
print(processor.decode(model.generate(**inputs)[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))
"""


@pytest.mark.slow
def test_a_fresh_process_that_never_heard_of_the_package_answers_alike(folder: Path, tmp_path: Path) -> None:
    """By the code in the folder, which leads to the installed package."""
    PICTURES[0].save(tmp_path / "page.png")
    wanted = fila_lab.load(folder).answer(PICTURES[0], "red?")
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", FRESH, str(folder), str(tmp_path / "page.png")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.removesuffix("\n") == wanted
