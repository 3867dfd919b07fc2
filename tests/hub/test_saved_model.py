"""A saved model is the laboratory's to the last bit, behind transformers' door: logits, answers, batches, beams, types, files."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import PICTURES, QUESTIONS, asked, inputs_of, make_model
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from fila_lab.config import FilaError
from fila_lab.config.strategies import has_convnext
from fila_lab.hub import FilaConfig, FilaForConditionalGeneration, FilaProcessor, save_model
from fila_lab.modeling import FilaModel
from fila_lab.modeling.lora import merged


def slow(parameter: Any) -> Any:
    return pytest.param(parameter, marks=pytest.mark.slow)


def answers(model: FilaForConditionalGeneration, processor: FilaProcessor, inputs: Any, **options: Any) -> list[str]:
    new = model.generate(**inputs, **options)[:, inputs["input_ids"].shape[1] :]
    return processor.batch_decode(new, skip_special_tokens=True)


def reloaded(model: FilaModel, path: Path) -> tuple[FilaForConditionalGeneration, FilaProcessor]:
    save_model(model, path)
    return AutoModelForImageTextToText.from_pretrained(path), AutoProcessor.from_pretrained(path)


@torch.no_grad()
def logits(model: FilaForConditionalGeneration, inputs: Any, tokens: int) -> torch.Tensor:
    return model(**inputs, logits_to_keep=tokens).logits


def test_the_auto_classes_know_a_saved_folder(folder: Path) -> None:
    assert type(AutoConfig.from_pretrained(folder)).__name__ == "FilaConfig"
    assert type(AutoModelForImageTextToText.from_pretrained(folder)) is FilaForConditionalGeneration
    processor = AutoProcessor.from_pretrained(folder)
    assert type(processor) is FilaProcessor
    assert type(processor.image_processor).__name__ == "FilaImageProcessor"
    assert processor.tokenizer.padding_side == "left"


def test_every_tensor_comes_back_as_it_was(model: FilaModel, loaded: FilaForConditionalGeneration) -> None:
    before, after = model.state_dict(), loaded.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) and before[name].dtype == after[name].dtype for name in before)


def test_nothing_that_a_file_does_not_hold_is_left_as_noise(model: FilaModel, loaded: FilaForConditionalGeneration) -> None:
    """transformers builds models without memory, and what is no parameter comes back as whatever lay there before."""
    built = dict(model.named_buffers())
    assert dict(loaded.named_buffers()).keys() == built.keys()
    for name, buffer in loaded.named_buffers():
        assert torch.equal(buffer, built[name])
    for module in loaded.modules():
        assert not any(isinstance(value, torch.Tensor) and value.is_meta for value in vars(module).values())


@pytest.mark.parametrize("number", range(len(PICTURES)))
def test_logits_are_the_laboratory_s_to_the_last_bit(number: int, model, loaded, processor) -> None:
    batch = asked(model, PICTURES[number], QUESTIONS[number])
    with torch.no_grad():
        wanted = model(batch).logits
    found = logits(loaded, inputs_of(processor, PICTURES[number : number + 1], QUESTIONS[number : number + 1]), batch.input_ids.shape[1])
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_adapters_are_added_into_what_is_saved(dtype: torch.dtype, language: Callable[..., Any], tmp_path: Path) -> None:
    model = make_model(**language("llama", dtype), language__lora={"rank": 2, "alpha": 4.0, "targets": ["q_proj", "v_proj"]})
    batch = asked(model, PICTURES[0], QUESTIONS[0])
    with torch.no_grad():
        adapted = model(batch).logits
    again, processor = reloaded(model, tmp_path / "saved")
    with torch.no_grad():
        assert torch.equal(model(batch).logits, adapted)
        one = copy.deepcopy(model)
        merged(one.language)
        wanted = one(batch).logits
    assert torch.equal(logits(again, inputs_of(processor, PICTURES[:1], QUESTIONS[:1]), batch.input_ids.shape[1]), wanted)
    assert not torch.equal(wanted, adapted)
    assert again.language.dtype is dtype
    assert not any("lora" in name for name in again.state_dict())


def test_greedy_answers_are_the_laboratory_s_alone_and_in_a_batch_of_any_canvases(model, loaded, processor) -> None:
    wanted = [model.generate(asked(model, image, question), 12)[0] for image, question in zip(PICTURES, QUESTIONS, strict=True)]
    assert len(set(wanted)) == len(wanted)  # they depend on what is asked
    alone = [
        answers(loaded, processor, inputs_of(processor, [image], [question]), max_new_tokens=12)[0]
        for image, question in zip(PICTURES, QUESTIONS, strict=True)
    ]
    together = answers(loaded, processor, inputs_of(processor, PICTURES, QUESTIONS), max_new_tokens=12)
    assert alone == together == wanted


def test_answers_end_where_the_cell_s_do(model, loaded, processor) -> None:
    """By the saved generation config: the cell's limit, its end tokens, no sampling."""
    inputs = inputs_of(processor, PICTURES[:1], QUESTIONS[:1])
    wanted = model.answer(asked(model, PICTURES[0], QUESTIONS[0]), model.config.language.answer_tokens)
    assert answers(loaded, processor, inputs) == [wanted[0].text]
    assert not loaded.generation_config.do_sample
    assert loaded.generation_config.eos_token_id == model.ends


@pytest.mark.parametrize(
    "options",
    [{"num_beams": 3}, slow({"use_cache": False}), slow({"num_beams": 2, "num_return_sequences": 2}), slow({"repetition_penalty": 1.3})],
)
def test_a_batch_answers_as_its_rows_do(options: dict[str, Any], loaded, processor) -> None:
    together = answers(loaded, processor, inputs_of(processor, PICTURES, QUESTIONS), max_new_tokens=5, **options)
    alone = [
        text
        for image, question in zip(PICTURES, QUESTIONS, strict=True)
        for text in answers(loaded, processor, inputs_of(processor, [image], [question]), max_new_tokens=5, **options)
    ]
    assert together == alone


def test_images_are_looked_at_once(loaded, processor, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    look = FilaForConditionalGeneration.get_image_features
    monkeypatch.setattr(FilaForConditionalGeneration, "get_image_features", lambda self, *args: seen.append(1) or look(self, *args))
    loaded.generate(**inputs_of(processor, PICTURES, QUESTIONS), max_new_tokens=5)
    assert len(seen) == 1


def test_texts_alone_and_beside_images(model, loaded, processor) -> None:
    mixed = [*([{"role": "user", "content": question}] for question in QUESTIONS[:2])]
    text = processor.apply_chat_template(mixed, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
                                         processor_kwargs={"padding": True})  # fmt: skip
    assert "pixel_values" not in text
    alone = answers(loaded, processor, text, max_new_tokens=6)
    both = inputs_of(processor, [PICTURES[1]], [QUESTIONS[1]])
    one = answers(loaded, processor, both, max_new_tokens=6)
    words = [processor.apply_chat_template(each, add_generation_prompt=True) for each in (mixed[0], [{"role": "user", "content": [
        {"type": "image"}, {"type": "text", "text": QUESTIONS[1]}]}])]  # fmt: skip
    batch = processor(images=[PICTURES[1]], text=words, padding=True, return_tensors="pt")
    assert answers(loaded, processor, batch, max_new_tokens=6) == [alone[0], one[0]]


def test_a_loss_is_the_laboratory_s(model, loaded, processor) -> None:
    batch = asked(model, PICTURES[0], QUESTIONS[0])
    inputs = inputs_of(processor, PICTURES[:1], QUESTIONS[:1])
    labels = torch.full_like(inputs["input_ids"], -100)
    labels[0, -3:] = inputs["input_ids"][0, -3:]
    own = torch.full_like(batch.input_ids, -100)
    own[0, -3:] = batch.input_ids[0, -3:]
    with torch.no_grad():
        torch.testing.assert_close(loaded(**inputs, labels=labels).loss, model(batch, own).loss, rtol=1e-6, atol=0)


FAMILIES: dict[str, dict[str, Any]] = {
    "qwen2": {"tie_word_embeddings": True},
    "llama": {},
    "granite": {"logits_scaling": 8.0, "embedding_multiplier": 12.0, "attention_multiplier": 0.1},
    "gpt2": {"n_positions": 256},
}


@pytest.mark.parametrize("family", ["qwen2", slow("llama"), slow("granite"), slow("gpt2")])
def test_language_models_of_many_families(family: str, language, tmp_path: Path) -> None:
    model = make_model(**language(family, **FAMILIES[family]))
    saved, processor = reloaded(model, tmp_path / "out")
    batch = asked(model, PICTURES[1], QUESTIONS[1])
    inputs = inputs_of(processor, PICTURES[1:2], QUESTIONS[1:2])
    with torch.no_grad():
        assert torch.equal(logits(saved, inputs, batch.input_ids.shape[1]), model(batch).logits)
    together = answers(saved, processor, inputs_of(processor, PICTURES, QUESTIONS), max_new_tokens=6)
    assert together == [model.generate(asked(model, *each), 6)[0] for each in zip(PICTURES, QUESTIONS, strict=True)]


def test_a_frozen_language_model_keeps_its_type_and_the_encoder_its_own(language, tmp_path: Path) -> None:
    model = make_model(**language("llama", torch.bfloat16), language__trainable=False)
    saved, processor = reloaded(model, tmp_path / "out")
    assert {p.dtype for p in saved.language.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in saved.encoder.parameters()} == {torch.float32}
    batch = asked(model, PICTURES[1], QUESTIONS[1])
    with torch.no_grad():
        wanted = model(batch).logits
    assert torch.equal(logits(saved, inputs_of(processor, PICTURES[1:2], QUESTIONS[1:2]), batch.input_ids.shape[1]).float(), wanted)


def test_adapters_are_merged_into_what_is_saved_and_stay_where_they_were(tmp_path: Path) -> None:
    model = make_model(language__lora={"rank": 2, "alpha": 4})
    before = [name for name, _ in model.named_parameters() if "lora_" in name]
    saved, processor = reloaded(model, tmp_path / "out")
    assert [name for name, _ in model.named_parameters() if "lora_" in name] == before != []
    assert not [name for name in saved.state_dict() if "lora_" in name or "base_layer" in name]
    batch = asked(model, PICTURES[1], QUESTIONS[1])
    with torch.no_grad():
        wanted = model(batch).logits
    found = logits(saved, inputs_of(processor, PICTURES[1:2], QUESTIONS[1:2]), batch.input_ids.shape[1])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "overrides",
    [
        {"fusion__handoff": "append", "language__template": "vicuna_v1"},
        slow({"fusion__name": "none"}),
        slow({"fusion__name": "none", "fusion__handoff": "replace"}),
        slow({"fusion__name": "slice_restore", "fusion__reach": "tile", "fusion__options": {"pooled": 1}}),
        slow({"fusion__name": "mini_gemini", "geometry__tiling__padding_tokens": "drop"}),
        slow({"geometry__tiling__overlap": 1}),
        slow({"geometry__tiling__perspective": "both", "geometry__tiling__second": {"max_tiles": 7}}),
        slow({"geometry__whole_image": 192}),
        slow({"projector__kind": "pixel_shuffle", "projector__factor": 3, "fusion__handoff": "append"}),
    ],
    ids=lambda overrides: str(next(iter(overrides.values()))),
)
def test_whatever_a_run_computes_is_saved(overrides: dict[str, Any], tmp_path: Path) -> None:
    model = make_model(**overrides)
    saved, processor = reloaded(model, tmp_path / "out")
    batch = asked(model, PICTURES[1], QUESTIONS[1])
    inputs = inputs_of(processor, PICTURES[1:2], QUESTIONS[1:2])
    with torch.no_grad():
        wanted = model(batch).logits[:, batch.image_at :]
    assert ("high_res_pixel_values" in inputs) == has_convnext(model.config)
    assert torch.equal(logits(saved, inputs, wanted.shape[1]), wanted)


def test_a_folder_says_nothing_of_the_machine_it_was_made_on(language, tmp_path: Path) -> None:
    model = make_model(**language("llama"), data__train=[{"suite": "llava", "path": str(tmp_path / "secret.json")}])
    save_model(model, tmp_path / "out")
    for path in (tmp_path / "out").glob("*.*"):
        assert str(tmp_path).encode() not in path.read_bytes(), path.name


def test_pixel_statistics_are_the_towers() -> None:
    model = make_model()
    model.encoder.convnext.statistics = ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    saved = FilaForConditionalGeneration(FilaConfig.from_dict(FilaConfig.of(model, 99).to_dict()))
    assert saved.encoder.convnext.statistics == ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert saved.encoder.vit.statistics == model.encoder.vit.statistics


def test_a_file_that_lacks_tensors_is_refused(model: FilaModel, tmp_path: Path) -> None:
    save_model(model, tmp_path / "out")
    weights = tmp_path / "out" / "model.safetensors"
    state = load_file(weights)
    del state["separator.separator"]
    save_file(state, weights, {"format": "pt"})
    with pytest.raises(FilaError, match=r"lacks 1 of the model's tensors, e\.g\. separator\.separator"):
        AutoModelForImageTextToText.from_pretrained(tmp_path / "out")


def test_texts_and_images_that_do_not_belong_together_are_refused(loaded, processor) -> None:
    inputs = inputs_of(processor, PICTURES[:2], QUESTIONS[:2])
    with pytest.raises(ValueError, match=r"image tokens, their images \[0, 0\] visual tokens"):
        loaded(input_ids=inputs["input_ids"])
    with pytest.raises(ValueError, match="a row for each of the 1 texts"):
        loaded(**{**inputs, "input_ids": inputs["input_ids"][:1]})
    with pytest.raises(ValueError, match="FilaProcessor makes both"):
        loaded(**{**inputs, "image_sizes": inputs["image_sizes"].flip(0)})
    with pytest.raises(ValueError, match="leave out pixel_values"):
        loaded(inputs_embeds=torch.zeros(1, 3, 32), pixel_values=inputs["pixel_values"])


def test_truth_maps_cannot_leave_the_laboratory(tmp_path: Path) -> None:
    with pytest.raises(FilaError, match="truth maps"):
        save_model(make_model(fusion__control="oracle_map"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_saved_configuration_is_a_run_of_the_laboratory(folder: Path, model: FilaModel) -> None:
    config = AutoConfig.from_pretrained(folder)
    assert config.run_config.geometry == model.config.geometry
    assert config.run_config.fusion == model.config.fusion
    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert "data" not in said["run"]
    assert "train" not in said["run"]
