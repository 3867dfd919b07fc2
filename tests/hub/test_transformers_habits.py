"""What people do with a model of transformers is done with a saved one: pipelines, other types, training, adapters, saving it again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from small_models import PICTURES, QUESTIONS, asked, conversation, inputs_of
from transformers import AutoModelForImageTextToText, pipeline

from fila_lab.hub import FilaForConditionalGeneration

pytestmark = pytest.mark.slow


def test_a_pipeline_answers(folder: Path, model) -> None:
    wanted = model.generate(asked(model, PICTURES[0], QUESTIONS[0]), 8)
    ask = pipeline("image-text-to-text", model=str(folder))
    for given in ({"text": conversation(PICTURES[0], QUESTIONS[0])}, {"images": PICTURES[0], "text": f"<image>{QUESTIONS[0]}"}):
        assert [found["generated_text"] for found in ask(**given, max_new_tokens=8, return_full_text=False)] == wanted


def test_a_pipeline_answers_batches_of_different_canvases_as_one_by_one(folder: Path) -> None:
    ask, options = pipeline("image-text-to-text", model=str(folder)), {"max_new_tokens": 8, "return_full_text": False}
    pairs = list(zip(PICTURES, QUESTIONS, strict=True))
    alone = [ask(text=conversation(*pair), **options)[0]["generated_text"] for pair in pairs]
    together = ask(text=[conversation(*pair) for pair in pairs], batch_size=3, **options)
    assert [told[0]["generated_text"] for told in together] == alone
    streamed = ask(({"images": image, "text": f"<image>{question}"} for image, question in pairs), batch_size=2, **options)
    assert [told[0]["generated_text"] for told in streamed] == alone
    assert len(set(alone)) > 1


def test_a_model_in_bfloat16_answers_and_is_saved_in_it(folder: Path, processor, tmp_path: Path) -> None:
    short = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in short.parameters()} == {torch.bfloat16}
    inputs = inputs_of(processor, PICTURES, QUESTIONS)
    wanted = short.generate(**inputs, max_new_tokens=4)
    short.save_pretrained(tmp_path)
    again = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert again.dtype is torch.bfloat16
    assert torch.equal(again.generate(**inputs, max_new_tokens=4), wanted)


def test_it_trains_and_checkpointed_activations_give_the_same_gradients(folder: Path, processor) -> None:
    inputs = inputs_of(processor, PICTURES, QUESTIONS)
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    gradients = []
    for checkpointed in (False, True):
        model = FilaForConditionalGeneration.from_pretrained(folder).train()
        if checkpointed:
            model.gradient_checkpointing_enable()
        model(**inputs, labels=labels).loss.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert all(gradients[0][name] is not None for name in ("projector.0.weight", "separator.separator", "encoder.vit.trunk.conv1.weight"))
    for name, gradient in gradients[0].items():
        if gradient is not None:
            torch.testing.assert_close(gradients[1][name], gradient)


def test_adapters_of_peft_train_beside_it(folder: Path, processor) -> None:
    adapted = get_peft_model(FilaForConditionalGeneration.from_pretrained(folder), LoraConfig(target_modules=["q_proj", "v_proj"]))
    inputs = inputs_of(processor, PICTURES, QUESTIONS)
    adapted(**inputs, labels=inputs["input_ids"]).loss.backward()
    trained = [name for name, parameter in adapted.named_parameters() if parameter.grad is not None]
    assert trained
    assert all("lora_" in name for name in trained)
    plain = FilaForConditionalGeneration.from_pretrained(folder)
    assert torch.equal(adapted.generate(**inputs, max_new_tokens=3), plain.generate(**inputs, max_new_tokens=3))
