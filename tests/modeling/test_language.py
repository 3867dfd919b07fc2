"""The language model speaks through its own class: logits, embeddings, cache and end tokens are what transformers itself computes."""

from __future__ import annotations

import functools
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import processors
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from fila_lab.config.base import ConfigError
from fila_lab.modeling import FilaModel, VisionBatch, build_model
from fila_lab.modeling.causal import CausalReader
from fila_lab.modeling.language import character_tokenizer, closing_token, leading_tokens, text_ids

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
    "mamba": {},
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


def written(folder: Path, family: str, dtype: torch.dtype = torch.float32, **more: Any) -> dict[str, Any]:
    """Fields of `language` for a tiny model of a family, saved with the character tokenizer."""
    make_language(family, **more).to(dtype).save_pretrained(folder)
    character_tokenizer().save_pretrained(folder)
    return {"weights": str(folder), "tokenizer": str(folder)}


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    return lambda family, *dtype, **more: written(tmp_path / family, family, *dtype, **more)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """As `saved`, each family once. Read only."""
    folder = tmp_path_factory.mktemp("families")
    return functools.cache(lambda family: written(folder / family, family))


def chosen(batch: VisionBatch, rows: list[int]) -> VisionBatch:
    """Some rows of a batch, their texts not padded further than they need."""
    lengths = batch.prompt_lengths[rows]
    pixels = {"tiles": batch.tiles[rows], "overview": batch.overview[rows], "maps": [m[rows] for m in batch.maps or []]}
    return replace(batch, **pixels, input_ids=batch.input_ids[rows, : int(lengths.max())], prompt_lengths=lengths, oracle=None)


def given_to_language(model: FilaModel, batch: Any) -> torch.Tensor:
    """What the language model reads, put together without FilaModel's help."""
    return torch.cat([model.see(batch), model.language.get_input_embeddings()(batch.input_ids)], dim=1)


def test_loading_says_nothing(saved, make_config, capfd: pytest.CaptureFixture) -> None:
    """transformers' own bars would stand among what a command says."""
    fields = saved("llama")
    capfd.readouterr()
    build_model(make_config("none", language=fields))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_the_class_own(family: str, kept, make_config, make_batch) -> None:
    batch, labels = make_batch()
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        warnings.simplefilter("error", DeprecationWarning)
        model = build_model(make_config("none", language=kept(family))).eval()
        torch.manual_seed(0)
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


def left_padded(rows: torch.Tensor, lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """(embeddings, mask) as transformers wants them, of rows padded on the right; noise stands in the padding."""
    found, mask = torch.randn_like(rows), torch.zeros(rows.shape[:2], dtype=torch.long)
    for row, length in enumerate(lengths):
        found[row, rows.shape[1] - length :], mask[row, rows.shape[1] - length :] = rows[row, :length], 1
    return found, mask


LENGTHS = {"many": (3, 7, 1, 5), "one": (5, 5, 5, 5), "none": (3, 7, 1, 5)}
QUICK = {"many": tuple(FAMILIES), "one": ("llama", "gemma2", "mamba"), "none": ("llama",)}
"""Prompts of different lengths with several end tokens are what a family may do otherwise; the rest is the laboratory's own loop."""
ENDINGS = [pytest.param(family, ends, marks=() if family in QUICK[ends] else pytest.mark.slow) for family in FAMILIES for ends in LENGTHS]


@pytest.mark.parametrize(("family", "ends"), ENDINGS)
def test_greedy_answers_are_those_of_generate_and_of_each_alone(family: str, ends: str, kept, make_config, make_batch) -> None:
    batch, _ = make_batch(images=4)
    lengths = LENGTHS[ends]
    batch = replace(batch, prompt_lengths=torch.tensor(lengths))
    model = build_model(make_config("none", language=kept(family))).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        embeddings = given_to_language(model, batch)
        own = [embeddings.shape[1] - 7 + length for length in lengths]
        embeddings, mask = left_padded(embeddings[:, : max(own)], own)
        asked = {"inputs_embeds": embeddings, "attention_mask": mask, "max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
        free = model.language.generate(**asked, eos_token_id=None)
        told = {"many": [int(free[0, 2]), int(free[1, 4])], "one": int(free[2, 3]), "none": None}[ends]
        model.language.generation_config.eos_token_id = told
        model.ends = [] if told is None else [told] if isinstance(told, int) else told
        wanted = model.language.generate(**asked)
    answers = model.answer(batch, 8)
    assert [text for text, _ in answers] == model.tokenizer.batch_decode(wanted, skip_special_tokens=True)
    assert [whole for _, whole in answers] == [any(int(token) in model.ends for token in row) for row in wanted]
    assert answers[:3] == [model.answer(chosen(batch, [row]), 8)[0] for row in range(3)]


@pytest.mark.parametrize("name", ["cache", "past_key_values"])
def test_both_names_of_the_cache_work(name: str) -> None:
    """transformers 5.24 renamed the argument; a class of either kind is asked by its own name."""
    language = make_language("llama")
    reader, own = CausalReader(language), language.forward
    ids = torch.tensor([[5, 6, 7]])
    theirs = reader.cache_name

    def forward(input_ids=None, inputs_embeds=None, attention_mask=None, use_cache=None, **kept):
        assert set(kept) <= {name}
        output = own(input_ids=input_ids, inputs_embeds=inputs_embeds, use_cache=use_cache, **{theirs: kept.get(name)})
        return type("Output", (), {"logits": output.logits, name: getattr(output, theirs)})

    def named(input_ids=None, inputs_embeds=None, attention_mask=None, use_cache=None, cache=None): ...

    def older(input_ids=None, inputs_embeds=None, attention_mask=None, use_cache=None, past_key_values=None): ...

    forward.__wrapped__ = named if name == "cache" else older  # type: ignore[attr-defined]
    language.forward = forward
    asked = CausalReader(language)
    assert asked.cache_name == name
    with torch.no_grad():
        _, read = asked.first_token(asked.embed(ids[:, :2]), torch.tensor([2]))
        logits, _ = asked.next_token(ids[:, 2], read)
        torch.testing.assert_close(logits, own(input_ids=ids).logits[:, -1])


@pytest.mark.parametrize("family", ["rwkv", "bert"])
def test_a_class_that_cannot_is_refused_by_name(family: str, saved, make_config) -> None:
    with pytest.raises(ConfigError, match=r"language\.weights: \w+ cannot read images: .*choose another"):
        build_model(make_config("none", language=saved(family)))


def test_an_image_too_long_for_the_model_is_refused(saved, make_config, make_batch) -> None:
    batch, _ = make_batch()
    model = build_model(make_config("none", language=saved("gpt2", n_positions=20, max_position_embeddings=20)))
    with pytest.raises(ConfigError, match="reads at most 20 tokens"):
        model(batch)


@pytest.mark.parametrize("family", ["gpt2", "opt", "llama"])
@pytest.mark.parametrize("left", [0, 2])
def test_an_answer_ends_where_the_model_knows_no_further_position(family: str, left: int, saved, make_config, make_batch) -> None:
    """A table of positions has no more rows: the answer stands up to there, and is the one a longer table would begin with."""
    batch, _ = make_batch(images=2)
    batch = replace(batch, prompt_lengths=torch.full((2,), 5), input_ids=batch.input_ids[:, :5])
    length = given_to_language(build_model(make_config("none", language=saved(family))), batch).shape[1]
    limit = {"max_position_embeddings": length + left} | ({"n_positions": length + left} if family == "gpt2" else {})
    model = build_model(make_config("none", language=saved(family, **limit))).eval()
    model.ends = []
    assert model.reader.positions == length + left
    whole = model.generate(batch, 30)
    assert whole == model.generate(batch, left + 1)


def test_a_tokenizer_of_another_vocabulary_is_refused(saved, make_config) -> None:
    with pytest.raises(ConfigError, match=r"language\.tokenizer=.* has 99 tokens, .* embeds 50"):
        build_model(make_config("none", language=saved("llama", vocab_size=50)))


def test_ids_beyond_the_number_of_tokens_are_embedded_or_refused(saved, make_config, make_batch, tmp_path: Path) -> None:
    """A tokenizer may leave ids free: what counts is its highest one."""
    settings = saved("llama")
    path = Path(settings["tokenizer"]) / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["model"]["vocab"]["€"] = 120
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"language\.tokenizer=.* has 121 tokens, .* embeds 99"):
        build_model(make_config("none", language=settings))
    model = build_model(make_config("none", language={"tokenizer": settings["tokenizer"]}))
    batch, _ = make_batch()
    ids = torch.tensor(text_ids(model.tokenizer, ["€"]))
    assert ids.tolist() == [[120]]
    assert model.text_logits(model.see(batch)[:1], ids).shape == (1, 1, 121)


def with_bos(folder: Path) -> None:
    """The character tokenizer, which puts <unk> before every text and <eos> behind, as some tokenizers do with theirs."""
    tokenizer = character_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<unk> $A <eos>", special_tokens=[("<unk>", 2), ("<eos>", 1)]
    )
    tokenizer.save_pretrained(folder)


def test_bos_stands_before_the_image_and_pieces_are_one_at_training_and_inference(saved, make_config, make_batch, tmp_path) -> None:
    batch, labels = make_batch()
    settings = saved("llama")
    with_bos(Path(settings["tokenizer"]))
    model = build_model(make_config("none", language=settings)).eval()
    assert leading_tokens(model.tokenizer) == [2]
    assert text_ids(model.tokenizer, ["ab"]) == [model.tokenizer.convert_tokens_to_ids(["a", "b"])]
    assert closing_token(model.tokenizer) == 1
    embed = model.language.get_input_embeddings()
    with torch.no_grad():
        bos = embed(torch.full((len(batch), 1), 2))
        oracle = model.language(inputs_embeds=torch.cat([bos, given_to_language(model, batch)], dim=1)).logits
        torch.testing.assert_close(model(batch).logits, oracle[:, -batch.input_ids.shape[1] :])
        torch.testing.assert_close(model(batch, labels).logits, oracle[:, -batch.input_ids.shape[1] - 1 : -1][labels != -100])
        one = replace(batch, prompt_lengths=torch.full((3,), 7))
        inputs = torch.cat([bos, given_to_language(model, one)], dim=1)
        wanted = model.language.generate(inputs_embeds=inputs, max_new_tokens=5, do_sample=False, pad_token_id=0)
    assert model.generate(one, 5) == model.tokenizer.batch_decode(wanted, skip_special_tokens=True)


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_trains_is_float32_whatever_the_checkpoint_and_all_of_it_moves(stored, precision, saved, make_config, make_batch) -> None:
    batch, labels = make_batch()
    labels = batch.input_ids.clone()
    model = build_model(make_config("none", language=saved("llama", stored, tie_word_embeddings=True)))
    assert {parameter.dtype for parameter in model.trainable_parameters()} == {torch.float32}
    before = {name: value.detach().clone() for name, value in model.language.named_parameters()}
    optimiser = torch.optim.AdamW(model.trainable_parameters(), lr=1e-4, weight_decay=0.0)
    for _ in range(3):
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            model(batch, labels).loss.backward()
        optimiser.step()
    for name, value in model.language.named_parameters():
        assert (value != before[name]).float().mean() > 0.99, name


def test_frozen_weights_keep_their_type_and_a_run_may_ask_for_less(saved, make_config, make_batch) -> None:
    batch, labels = make_batch()
    settings = saved("granite", torch.bfloat16)
    for more, dtype in (
        ({"trainable": False}, torch.bfloat16),
        ({"trainable": False, "dtype": "float32"}, torch.float32),
        ({"dtype": "bfloat16"}, torch.bfloat16),
        ({}, torch.float32),
    ):
        model = build_model(make_config("none", language=settings | more))
        assert {parameter.dtype for parameter in model.language.parameters()} == {dtype}
        assert model.projector[0].weight.dtype is torch.float32
        output = model(batch, labels)
        assert output.logits.dtype is torch.float32
        output.loss.backward()
    built = build_model(make_config("none", language={"dtype": "bfloat16"}))
    assert {parameter.dtype for parameter in built.language.parameters()} == {torch.bfloat16}
    assert built.language.model.rotary_emb.inv_freq.dtype is torch.float32
