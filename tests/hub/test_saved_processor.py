"""What a saved model reads of conversations and images is what the laboratory trains and asks with."""

from __future__ import annotations

import base64
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import PICTURES, asked, conversation, inputs_of, make_model, picture, small

from fila_lab.config import FilaError
from fila_lab.config.prompts import TEMPLATES
from fila_lab.data.prompt import Dialogue
from fila_lab.data.suite import Turn
from fila_lab.hub import FilaImageProcessor, FilaProcessor
from fila_lab.hub.chat_template import jinja
from fila_lab.hub.configuration import IMAGE_TOKEN, computed_run
from fila_lab.hub.convert import with_image_token
from fila_lab.imaging import prepare
from fila_lab.imaging.prepare import join_tiles
from fila_lab.modeling.language import character_tokenizer

PEERS = json.loads((Path(__file__).parents[1] / "data" / "chat_templates.json").read_text(encoding="utf-8"))
TALK = [("What is written?", "stop"), ("And below?", "wet paint")]


def processor_of(template: str, *special: str) -> FilaProcessor:
    tokenizer = character_tokenizer()
    tokenizer.add_tokens(list(special), special_tokens=True)
    tokenizer = with_image_token(tokenizer)
    lacking = [text for text in TEMPLATES[template].special if text not in special]
    words = jinja(template, IMAGE_TOKEN, str(tokenizer.eos_token), lacking)
    return FilaProcessor(FilaImageProcessor(computed_run(small())), tokenizer, words, template)


def messages(turns: list[tuple[str, str]], question: str | None = None) -> list[dict[str, Any]]:
    texts = [text for turn in turns for text in turn] + ([] if question is None else [question])
    found = [{"role": ("user", "assistant")[n % 2], "content": [{"type": "text", "text": text}]} for n, text in enumerate(texts)]
    found[0]["content"].append({"type": "image"})  # the place in a message is the template's
    return found


@pytest.mark.parametrize("template", ["vicuna_v1", "qwen_1_5", "qwen_2_5", "smollm2"])
def test_the_words_are_those_of_the_public_templates(template: str) -> None:
    """As the peers' own code renders them (LLaVA, LLaVA-NeXT)."""
    processor = processor_of(template, *TEMPLATES[template].special)
    assert processor.apply_chat_template(messages(TALK)) == PEERS[f"{template}/train2"]
    assert processor.apply_chat_template(messages([], TALK[0][0]), add_generation_prompt=True) == PEERS[f"{template}/infer1"]


@pytest.mark.parametrize("template", [name for name, words in TEMPLATES.items() if not words.one_turn])
@pytest.mark.parametrize("known", [True, False], ids=["special", "spelled"])
@pytest.mark.parametrize("earlier", [[], TALK[:1]], ids=["first", "second"])
def test_conversations_become_the_ids_of_the_laboratory_s_prompts(template: str, known: bool, earlier: list[tuple[str, str]]) -> None:
    processor = processor_of(template, *(TEMPLATES[template].special if known else ()))
    question = "And <|im_end|></s><image>?"  # nobody's words end an answer, or show an image
    turns = (*(Turn(asked, (answer,)) for asked, answer in earlier), Turn(question, ()))
    (wanted,) = processor.prompt.asking([Dialogue(turns)])
    talk = messages(earlier, question)
    talk[0]["content"][-1]["image"] = PICTURES[0]
    (ids,) = processor.apply_chat_template(talk, add_generation_prompt=True, tokenize=True)
    assert [token for token in ids if token != processor.image_token_id] == wanted.ids
    at = wanted.image_at
    assert ids[at] == processor.image_token_id
    assert ids.count(processor.image_token_id) == processor.image_processor.tokens(84, 84)


@pytest.mark.parametrize("template", list(TEMPLATES))
def test_words_given_whole_are_read_alike(template: str) -> None:
    processor = processor_of(template, *TEMPLATES[template].special)
    talk = messages([], "What is written?")
    text = processor.apply_chat_template(talk, add_generation_prompt=True)
    talk[0]["content"][-1]["image"] = PICTURES[0]
    wanted = processor.apply_chat_template(talk, add_generation_prompt=True, tokenize=True)
    assert processor(images=PICTURES[0], text=text)["input_ids"] == wanted


def test_what_the_tokenizer_puts_before_every_text_stands_there_once() -> None:
    from tokenizers.processors import TemplateProcessing

    processor = processor_of("bare")
    processor.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<unk> $A", special_tokens=[("<unk>", 2)])
    ids = processor(images=PICTURES[0], text="<image>red?")["input_ids"][0]
    assert ids[0] == 2
    assert ids[1] == processor.image_token_id
    assert processor(images=PICTURES[0], text="<image>red?", add_special_tokens=False)["input_ids"][0] == ids[1:]


def test_pixels_are_the_laboratory_s_and_what_they_do_not_fill_is_nothing(processor: FilaProcessor) -> None:
    found = processor.image_processor([PICTURES[0], None, PICTURES[1]], return_tensors="pt")
    assert found["image_sizes"].tolist() == [[84, 84], [0, 0], [50, 160]]
    for row, image in ((0, PICTURES[0]), (2, PICTURES[1])):
        wanted = prepare(image, small().geometry)
        tiles, (across, down) = wanted.tiles, wanted.geometry.detail_blocks
        blocks = join_tiles(found["high_res_pixel_values"][row, : across * down].numpy(), down, across)
        assert np.array_equal(found["pixel_values"][row, 0], wanted.overview)
        assert np.array_equal(found["pixel_values"][row, 1 : 1 + len(tiles)], tiles)
        assert not found["pixel_values"][row, 1 + len(tiles) :].any()
        assert np.array_equal(blocks, wanted.detail)
        assert not found["high_res_pixel_values"][row, across * down :].any()
    assert not found["pixel_values"][1].any()
    assert {value.dtype for name, value in found.items() if name != "image_sizes"} == {torch.uint8}


@settings(max_examples=40)
@given(st.integers(1, 3000), st.integers(1, 3000))
def test_an_image_has_as_many_tokens_as_it_says(width: int, height: int) -> None:
    from fila_lab.config.counts import llm_tokens
    from fila_lab.config.tiling import most_blocks, most_tiles
    from fila_lab.imaging import Geometry

    config = small(geometry__tiling__padding_tokens="drop", fusion__handoff="append")
    tokens = FilaImageProcessor(computed_run(config)).tokens(height, width)
    geometry = Geometry.of(width, height, config.geometry)
    assert tokens == llm_tokens(geometry.canvas, config, (width, height))
    assert geometry.tiles <= most_tiles(config.geometry), "there is room for its tiles"
    assert math.prod(geometry.detail_blocks) <= most_blocks(config.geometry)


def test_tokens_are_those_that_the_model_sees() -> None:
    model = make_model(geometry__tiling__padding_tokens="drop", fusion__handoff="append")
    images = FilaImageProcessor(computed_run(model.config))
    for width, height in ((84, 84), (300, 20), (31, 77)):
        assert images.tokens(height, width) == model.see(asked(model, picture(width, height), "a")).shape[1]


def test_an_image_may_come_in_many_forms(processor: FilaProcessor, tmp_path: Path) -> None:
    image = picture(60, 30)
    image.save(tmp_path / "page.png")
    held = io.BytesIO()
    image.save(held, "PNG")
    forms = [
        image, tmp_path / "page.png", str(tmp_path / "page.png"), np.asarray(image), torch.from_numpy(np.array(image)),
        torch.from_numpy(np.array(image)).permute(2, 0, 1), base64.b64encode(held.getvalue()).decode(),
    ]  # fmt: skip
    wanted = processor.image_processor(image, return_tensors="np")["pixel_values"]
    for form in forms:
        assert np.array_equal(processor.image_processor([form], return_tensors="np")["pixel_values"], wanted)
    batch = np.stack([np.asarray(image)] * 2)
    assert len(processor.image_processor(batch, return_tensors="np")["pixel_values"]) == 2
    grey = image.convert("L")
    wanted = processor.image_processor(grey, return_tensors="np")["pixel_values"]
    for form in (np.asarray(grey), torch.from_numpy(np.array(grey))):
        assert np.array_equal(processor.image_processor([form], return_tensors="np")["pixel_values"], wanted)


@pytest.mark.parametrize("image", ["gone.png", ".", "no base64 " * 1000], ids=["gone", "folder", "text"])
def test_a_text_that_is_no_image_is_named(image: str, processor: FilaProcessor) -> None:
    with pytest.raises(FilaError, match=rf"^image '{image[:100]}.* does not exist, and is no base64 of an image; check the path") as found:
        processor.image_processor(image)
    assert len(str(found.value)) < 400


def test_padding_stands_before_the_texts(processor: FilaProcessor) -> None:
    inputs = inputs_of(processor, PICTURES[:2], ["a", "a long question"])
    assert inputs["attention_mask"][0, 0] == 0
    assert inputs["attention_mask"][:, -1].tolist() == [1, 1]
    assert set(inputs) == set(processor.model_input_names)


@pytest.mark.parametrize(
    ("talk", "words"),
    [
        ([{"role": "system", "content": "be short"}, {"role": "user", "content": "a"}], "its own system text"),
        ([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], "take turns"),
        ([{"role": "user", "content": [{"type": "image", "image": PICTURES[0]}] * 2}], "has 2 images"),
        ([{"role": "user", "content": [{"type": "image", "image": PICTURES[:2]}]}], "holds 2 images, .* looks at one; give one"),
        ([{"role": "user", "content": [{"type": "image"}]}], "says nothing of its image"),
    ],
)
def test_conversations_that_cannot_be_asked_are_refused(talk: list[dict[str, Any]], words: str, processor: FilaProcessor) -> None:
    with pytest.raises(ValueError, match=words):
        processor.apply_chat_template(talk, add_generation_prompt=True, tokenize=True)


def test_texts_without_a_place_for_their_image_are_refused(processor: FilaProcessor) -> None:
    with pytest.raises(ValueError, match="0 places for an image"):
        processor(images=PICTURES[0], text="red?")
    with pytest.raises(ValueError, match="and 0 images are given"):
        processor(text=["<image>red?"])
    with pytest.raises(ValueError, match="2 places"):
        processor(images=PICTURES[:2], text="<image><image>red?")
    with pytest.raises(ValueError, match="give text, images, or both"):
        processor()


def test_the_jinja_refuses_a_system_text(processor: FilaProcessor) -> None:
    with pytest.raises(Exception, match="its own system text"):
        processor.apply_chat_template([{"role": "system", "content": "x"}, *conversation(PICTURES[0], "a")])
