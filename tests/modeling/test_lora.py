"""Adapters beside frozen weights: they add nothing at first, are all that trains, and merge into the model they were put in."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from fila_lab.config.base import ConfigError
from fila_lab.config.language import LanguageConfig
from fila_lab.config.lora import LoraConfig
from fila_lab.config.lora_maps import adapted_maps, check_lora, linear_maps
from fila_lab.modeling import build_model
from fila_lab.modeling.language import character_tokenizer
from fila_lab.modeling.lora import add_lora, merged

SIZES: dict[str, Any] = {
    "vocab_size": 99, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1,
}  # fmt: skip
FAMILIES = ("llama", "qwen2", "granite", "gpt2")
LORA = LoraConfig(rank=3, alpha=6.0)


def language_of(family: str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    torch.manual_seed(0)
    more = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128} if family == "gpt2" else {}
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **SIZES | more)).to(dtype).eval()


def woken(language: PreTrainedModel) -> PreTrainedModel:
    """Adapters that add something."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, value in language.named_parameters():
            if "lora_B" in name:
                value.normal_(std=0.3)
    return language


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_compute_the_papers_formula_and_merge_into_the_class(family: str) -> None:
    """W x + alpha / rank * B A x, by a plain sum over the model's own matrices."""
    plain, adapted, ids = language_of(family), language_of(family), torch.randint(3, 90, (2, 9))
    add_lora(adapted, LORA)
    with torch.no_grad():
        assert torch.equal(adapted(input_ids=ids).logits, plain(input_ids=ids).logits), "B is zero"
        woken(adapted)
        for name, part in plain.named_modules():
            low = {which: adapted.state_dict().get(f"{name}.lora_{which}.default.weight") for which in "AB"}
            if low["A"] is not None and low["B"] is not None:
                change = LORA.alpha / LORA.rank * low["B"] @ low["A"]
                part.weight += change if isinstance(part, nn.Linear) else change.T  # GPT-2 keeps its matrices turned
        wanted, found = plain(input_ids=ids).logits, adapted(input_ids=ids).logits
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
        whole = merged(copy.deepcopy(adapted))
        torch.testing.assert_close(whole(input_ids=ids).logits, wanted, rtol=1e-4, atol=1e-5)
    assert whole.state_dict().keys() == plain.state_dict().keys()
    assert [type(part) for part in whole.modules()] == [type(part) for part in plain.modules()]


def test_a_merged_model_saves_as_its_class(tmp_path: Path) -> None:
    language = language_of("qwen2")
    add_lora(language, LORA)
    merged(woken(language)).save_pretrained(tmp_path)
    again, told = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    ids = torch.randint(3, 90, (1, 5))
    torch.testing.assert_close(again(input_ids=ids).logits, language(input_ids=ids).logits)
    assert merged(again) is again, "nothing to merge"


def test_adapters_alone_train_in_float32_beside_frozen_weights_of_any_type(make_config: Any, make_batch: Any, tmp_path: Path) -> None:
    language_of("llama", torch.bfloat16).save_pretrained(tmp_path)
    character_tokenizer().save_pretrained(tmp_path)
    settings = {"weights": str(tmp_path), "tokenizer": str(tmp_path), "lora": LORA}
    model, (batch, _) = build_model(make_config("none", language=settings)), make_batch()
    moving = {name for name, value in model.language.named_parameters() if value.requires_grad}
    assert moving
    assert all(".lora_" in name for name in moving)
    kept = {name: value.detach().clone() for name, value in model.language.named_parameters()}
    assert {value.dtype for name, value in kept.items() if name in moving} == {torch.float32}
    assert {value.dtype for name, value in kept.items() if name not in moving} == {torch.bfloat16}
    optimiser = torch.optim.AdamW(model.trainable_parameters(), lr=1e-3, weight_decay=0.0)
    for _ in range(2):
        optimiser.zero_grad()
        model(batch, batch.input_ids).loss.backward()
        optimiser.step()
    assert {name for name, value in model.language.named_parameters() if not torch.equal(value, kept[name])} == moving


def test_adapters_have_a_stream_of_their_own(make_config: Any) -> None:
    """Arms with and without them share all other weights; the same seed draws the same adapters."""
    plain, one, two = (build_model(make_config("addition", language={"lora": lora})).state_dict() for lora in (None, LORA, LORA))
    other = build_model(make_config("addition", language={"lora": LORA}, seed=1)).state_dict()
    for name, value in plain.items():
        place = name if name in one else f"{name.rpartition('.')[0]}.base_layer.weight"
        assert torch.equal(value, one[place]), name
    low = [name for name in one if "lora_A" in name]
    assert all(torch.equal(one[name], two[name]) and not torch.equal(one[name], other[name]) for name in low)


@pytest.mark.parametrize("targets", ["all-linear", ("q_proj", "v_proj"), ("layers.1.mlp.down_proj", "self_attn.o_proj")])
def test_the_maps_that_are_told_without_building_are_those_that_get_adapters(targets: Any, make_config: Any) -> None:
    language = {"lora": LoraConfig(rank=2, alpha=4, targets=targets), "kv_heads": 2}
    config = make_config("none", language=language)
    built = build_model(config).language
    sizes = {
        name.removesuffix(".lora_A.default"): (part.in_features, built.get_submodule(name.replace("lora_A", "lora_B")).out_features)
        for name, part in built.named_modules()
        if name.endswith(".lora_A.default")
    }
    assert sizes == adapted_maps(config.language)


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (("q_proj", "k_prjo"), r"'k_prjo' is no linear map of .*did you mean 'k_proj'.*choose of q_proj"),
        (("lm_head",), "'lm_head' is no linear map"),
        (("embed_tokens",), "'embed_tokens' is no linear map"),
        (("proj",), "'proj' is no linear map"),
    ],
)
def test_targets_that_match_nothing_are_refused_by_name(targets: tuple[str, ...], words: str) -> None:
    lora = LoraConfig(rank=2, alpha=4, targets=targets)
    with pytest.raises(ConfigError, match=words):
        add_lora(language_of("llama"), lora)
    with pytest.raises(ConfigError, match=words):
        check_lora(LanguageConfig(lora=lora))


def test_a_plan_reads_the_names_of_a_folder(tmp_path: Path) -> None:
    language_of("gpt2").save_pretrained(tmp_path)

    def language(*targets: str) -> LanguageConfig:
        return LanguageConfig(weights=str(tmp_path), lora=LoraConfig(rank=2, alpha=4, targets=targets))

    check_lora(language("c_attn"))
    check_lora(LanguageConfig(weights="someone/on-the-hub", lora=LoraConfig(rank=2, alpha=4, targets=("whatever",))))
    with pytest.raises(ConfigError, match=r"'q_proj' is no linear map of language\.weights = .*c_attn"):
        check_lora(language("q_proj"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rank": 0, "alpha": 1}, "rank"),
        ({"rank": 2, "alpha": 0}, "alpha"),
        ({"rank": 2, "alpha": 4, "dropout": 1.0}, "dropout"),
        ({"rank": 2, "alpha": 4, "targets": []}, "must name linear maps"),
        ({"rank": 2, "alpha": 4, "targets": ["q_proj", "q_proj"]}, "each once"),
    ],
)
def test_numbers_that_are_none_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        LoraConfig.model_validate(fields)


def test_adapters_of_a_language_model_that_does_not_train_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"language\.trainable = false leaves nothing"):
        check_lora(LanguageConfig(trainable=False, lora=LORA))


def test_maps_are_named_as_the_class_names_them() -> None:
    config = LanguageConfig(width=32, layers=2, heads=4, kv_heads=2, intermediate=48)
    own: Callable[[str], bool] = lambda name: name != "lm_head"  # noqa: E731
    built = {name for name, part in language_of("llama").named_modules() if isinstance(part, nn.Linear) and own(name)}
    assert set(linear_maps(config)) == built
