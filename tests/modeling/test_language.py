"""The language model speaks through its own class: logits, embeddings, cache and end tokens are what transformers itself computes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from fila_lab.modeling import FilaModel, build_model
from fila_lab.modeling.language import character_tokenizer

VOCABULARY = 99
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1,
    "initializer_range": 0.3,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    "mistral": {"sliding_window": 4},
    "mixtral": {"num_local_experts": 4},
    "granite": {"logits_scaling": 8.0, "embedding_multiplier": 12.0, "residual_multiplier": 0.22, "attention_multiplier": 0.1},
    "cohere": {"logit_scale": 0.0625},
    "cohere2": {"logit_scale": 0.25, "sliding_window": 4},
    "gemma": {},
    "gemma2": {"final_logit_softcapping": 3.0, "sliding_window": 4, "query_pre_attn_scalar": 8},
    "gemma3_text": {"final_logit_softcapping": 2.0, "sliding_window": 4},
    "phi": {},
    "phi3": {},
    "gpt2": {"n_positions": 128},
    "gpt_neox": {},
    "gptj": {"n_positions": 128, "rotary_dim": 4},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 16},
    "bloom": {},
    "falcon": {"head_dim": None},
    "olmo": {},
    "olmo2": {},
    "smollm3": {},
    "stablelm": {},
    "starcoder2": {},
    "glm": {},
    "nemotron": {},
    "helium": {},
    "ernie4_5": {},
}


def make_language(family: str, **more: Any) -> PreTrainedModel:
    """A tiny random model of a family."""
    torch.manual_seed(0)
    fields = {name: value for name, value in (SIZES | FAMILIES.get(family, {}) | more).items() if value is not None}
    config = AutoConfig.for_model(family, **fields)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():  # logits of several units, so that scaling and capping show
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)
    return model


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Fields of `language` for a tiny model of a family, saved with the character tokenizer."""

    def save(family: str, dtype: torch.dtype = torch.float32, **more: Any) -> dict[str, Any]:
        folder = tmp_path / family
        make_language(family, **more).to(dtype).save_pretrained(folder)
        character_tokenizer().save_pretrained(folder)
        return {"weights": str(folder), "tokenizer": str(folder)}

    return save


def given_to_language(model: FilaModel, batch: Any) -> torch.Tensor:
    """What the language model reads, put together without FilaModel's help."""
    return torch.cat([model.see(batch), model.language.get_input_embeddings()(batch.input_ids)], dim=1)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_the_class_own(family: str, saved, make_config, make_batch) -> None:
    batch, labels = make_batch()
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        warnings.simplefilter("error", DeprecationWarning)
        model = build_model(make_config("none", language=saved(family))).eval()
        with torch.no_grad():
            everywhere, wanted = model(batch), model(batch, labels)
            ids = torch.randint(3, 90, (2, 9))
            read = model.reader.logits(model.reader.embed(ids), slice(None))
    with torch.no_grad():
        embeddings = given_to_language(model, batch)
        oracle = model.language(inputs_embeds=embeddings).logits.float()
        by_ids = model.language(input_ids=ids).logits.float()
    first = embeddings.shape[1] - batch.input_ids.shape[1]
    torch.testing.assert_close(everywhere.logits, oracle[:, first:], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(wanted.logits, oracle[:, first - 1 : -1][labels != -100], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(read, by_ids, rtol=1e-5, atol=1e-5)
    loss = torch.nn.functional.cross_entropy(oracle[:, first - 1 : -1][labels != -100], labels[labels != -100])
    torch.testing.assert_close(wanted.loss, loss)


@pytest.mark.parametrize("ends", ["many", "one", "none"])
@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_answers_are_those_of_generate(family: str, ends: str, saved, make_config, make_batch) -> None:
    batch, _ = make_batch(images=4)
    batch = replace(batch, prompt_lengths=torch.full((4,), 5), input_ids=batch.input_ids[:, :5])
    model = build_model(make_config("none", language=saved(family))).eval()
    with torch.no_grad():
        embeddings = given_to_language(model, batch)
        free = model.language.generate(inputs_embeds=embeddings, max_new_tokens=8, do_sample=False, eos_token_id=None)
        told = {"many": [int(free[0, 2]), int(free[1, 4])], "one": int(free[2, 3]), "none": None}[ends]
        model.language.generation_config.eos_token_id = told
        model.ends = [] if told is None else [told] if isinstance(told, int) else told
        wanted = model.language.generate(inputs_embeds=embeddings, max_new_tokens=8, do_sample=False, pad_token_id=0)
    assert model.generate(batch, 8) == model.tokenizer.batch_decode(wanted, skip_special_tokens=True)
