"""A batch: one layout, parts of the same rows; rows without an image; an image inside the text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fila_lab.config.base import FilaError
from fila_lab.config.tiling import NO_IMAGE, TileLayout
from fila_lab.modeling import VisionBatch, build_model
from fila_lab.modeling.model import IGNORED

IDS, LENGTHS = torch.randint(3, 90, (2, 6), generator=torch.Generator().manual_seed(0)), torch.tensor([6, 4])
SEEN = {"tiles": np.zeros((2, 2, 42, 42, 3), np.uint8), "overview": torch.zeros(2, 42, 42, 3, dtype=torch.uint8)}
TWO = TileLayout.side_by_side(3, 1, 2)


def texts(ids: torch.Tensor = IDS, lengths: torch.Tensor = LENGTHS) -> VisionBatch:
    return VisionBatch.of(NO_IMAGE, ids, lengths)


@pytest.mark.parametrize(
    ("layout", "lengths", "parts", "message"),
    [
        (TWO, LENGTHS[:1], SEEN, "prompt_lengths has 1 rows, input_ids 2"),
        (TWO, LENGTHS, SEEN | {"overview": torch.zeros(3, 42, 42, 3)}, "overview has 3 rows"),
        (TWO, LENGTHS, SEEN | {"maps": [torch.zeros(2, 8, 24, 48)] * 3 + [torch.zeros(1, 8, 3, 6)]}, "maps has 1 rows"),
        (TWO, LENGTHS, {"tiles": SEEN["tiles"]}, "need tiles and overview"),
        (TileLayout.side_by_side(3, 2, 2), LENGTHS, SEEN, "2 tiles for a layout of 4"),
        (NO_IMAGE, LENGTHS, SEEN, "rows without an image have tiles, overview"),
        (NO_IMAGE, torch.tensor([3, 0]), {}, "neither an image nor a prompt"),
        (TWO, LENGTHS, SEEN | {"image_at": 5}, "image_at=5 is no place in a prompt of 4 tokens"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(layout, lengths, parts: dict[str, Any], message: str) -> None:
    with pytest.raises(FilaError, match=message):
        VisionBatch.of(layout, IDS, lengths, **parts)


def test_arrays_are_taken_as_tensors_are_and_the_layout_counts_tiles() -> None:
    batch = VisionBatch.of(TWO, IDS, LENGTHS, **SEEN)
    assert (batch.rows, batch.cols, len(batch)) == (1, 2, 2)
    assert isinstance(batch.tiles, torch.Tensor)
    assert (texts().rows, texts().cols, len(texts())) == (0, 0, 2)


@pytest.mark.parametrize("fusion", [{"name": "concat"}, {"name": "none", "handoff": "append"}], ids=str)
def test_rows_without_an_image_are_read_as_the_language_model_reads_them(make_config, fusion: dict[str, str]) -> None:
    model = build_model(make_config(**fusion)).eval()
    with torch.no_grad():
        model.language.lm_head.weight.mul_(20)
        assert model.see(texts()).shape == (2, 0, 32)
        torch.testing.assert_close(model(texts()).logits, model.language(input_ids=IDS).logits, rtol=1e-4, atol=1e-4)
        asked = {"attention_mask": torch.tensor([[1] * 6, [0] * 2 + [1] * 4]), "do_sample": False, "max_new_tokens": 5, "pad_token_id": 0}
        wanted = model.language.generate(torch.stack([IDS[0], torch.cat([IDS[1, :2], IDS[1, :4]])]), **asked)[:, 6:]
    assert model.generate(texts(), 5) == model.tokenizer.batch_decode(wanted, skip_special_tokens=True)
    with pytest.raises(FilaError, match="nothing to see"):
        model.encoder(texts())


def test_a_step_on_texts_alone_trains_the_language_model_and_gives_every_parameter_a_gradient(make_config) -> None:
    """Devices that train together wait for every parameter."""
    model = build_model(make_config("concat"))
    labels = IDS.masked_fill(torch.arange(6) < 3, IGNORED)
    output = model(texts(), labels)
    assert output.projected is None
    oracle = model.language(input_ids=IDS).logits[:, :-1].flatten(0, 1)
    torch.testing.assert_close(output.loss, torch.nn.functional.cross_entropy(oracle, labels[:, 1:].flatten(), ignore_index=IGNORED))
    output.loss.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.any() == name.startswith("language."), name


def test_an_image_stands_where_the_text_says(make_config, make_batch) -> None:
    """Logits, loss and answers are the class's own of the sequence put together by hand."""
    batch, labels = make_batch()
    model = build_model(make_config("none")).eval()
    inside = replace(batch, image_at=2)
    embed = model.language.get_input_embeddings()
    with torch.no_grad():
        model.language.lm_head.weight.mul_(20)
        visual, text = model.see(batch), embed(batch.input_ids)
        sequence = torch.cat([text[:, :2], visual, text[:, 2:]], dim=1)
        oracle = model.language(inputs_embeds=sequence).logits
        own = [0, 1, *range(visual.shape[1] + 2, sequence.shape[1])]
        torch.testing.assert_close(model(inside).logits, oracle[:, own], rtol=1e-4, atol=1e-4)
        told = torch.cat([labels[:, :2], labels.new_full((3, visual.shape[1]), IGNORED), labels[:, 2:]], dim=1)
        told[:, 1] = labels[:, 1] = batch.input_ids[:, 1]  # a loss before the image too
        wanted = oracle[:, :-1][told[:, 1:] != IGNORED]
        torch.testing.assert_close(model(inside, labels).logits, wanted, rtol=1e-4, atol=1e-4)
        longest = replace(inside, prompt_lengths=torch.full((3,), 7))
        answers = model.language.generate(inputs_embeds=sequence, max_new_tokens=5, do_sample=False, pad_token_id=0)
    assert model.generate(longest, 5) == model.tokenizer.batch_decode(answers, skip_special_tokens=True)
    assert model.generate(longest, 5) != model.generate(replace(longest, image_at=0), 5)


def test_an_answer_ends_at_a_templates_own_token_too(make_config) -> None:
    model = build_model(make_config("none")).eval()
    with torch.no_grad():
        model.language.lm_head.weight.mul_(20)
    free = [model.tokenizer(text, add_special_tokens=False).input_ids for text in model.generate(texts(), 6)]
    ended = model.answer(texts(), 6, ends=[free[0][2]])
    assert ended[0].whole
    assert ended[0].text == model.tokenizer.decode(free[0][: free[0].index(free[0][2]) + 1])
