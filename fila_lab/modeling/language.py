"""The language model and its tokenizer: transformers' classes, built from numbers or loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from fila_lab.config.base import ConfigError, FilaError, MachineError
from fila_lab.config.language import LanguageConfig
from fila_lab.config.seam_words import WORDS
from fila_lab.config.vocabulary import CHARACTERS, SPECIAL
from fila_lab.config.weight_index import indexed_files
from fila_lab.config.weights import weights_file
from fila_lab.modeling.causal import embedding_table
from fila_lab.modeling.fit import require_all, require_finite
from fila_lab.modeling.quiet import without_attempts, without_bars

MAX_POSITIONS = 32768
_CLASSES: dict[str, tuple[Any, Any]] = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}


def character_tokenizer() -> PreTrainedTokenizerFast:
    """One token per character of printable ASCII and newline; ids 0-2 are padding, end and unknown."""
    vocabulary = {token: index for index, token in enumerate((*SPECIAL, *CHARACTERS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", clean_up_tokenization_spaces=False
    )


def word_tokenizer() -> PreTrainedTokenizerFast:
    """`character_tokenizer` with a token for each of WORDS where it stands alone, as a large tokenizer has for common words."""
    tokenizer = character_tokenizer()
    tokenizer.add_tokens([AddedToken(word, single_word=True, normalized=False) for word in WORDS])
    return tokenizer


def build_tokenizer(config: LanguageConfig) -> PreTrainedTokenizerBase:
    """`characters`, `words`, or a tokenizer from a folder or hub name; FilaError when it is not to be had."""
    if config.tokenizer == "characters":
        return character_tokenizer()
    if config.tokenizer == "words":
        return word_tokenizer()
    try:
        tokenizer = _offline_first(AutoTokenizer.from_pretrained, config.tokenizer)
    except Exception as error:
        raise _unavailable("language.tokenizer", config.tokenizer, error) from error
    if tokenizer.pad_token_id is None and tokenizer.eos_token_id is not None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def known_tokenizer(config: LanguageConfig) -> LanguageConfig | None:
    """The configuration with its tokenizer where it lies on this machine; None where it would have to be fetched."""
    if config.tokenizer in ("characters", "words") or Path(config.tokenizer).is_dir():
        return config
    try:
        found = try_to_load_from_cache(config.tokenizer, "tokenizer_config.json")
    except HFValidationError:
        return None
    return config.model_copy(update={"tokenizer": str(Path(found).parent)}) if isinstance(found, str) else None


def text_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Ids of questions or answers, at training and at inference alike; what a tokenizer puts around them is left out, and a special token
    that stands in a text is spelled out: nobody's words end an answer."""
    return tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True).input_ids


def leading_tokens(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids that the tokenizer puts before every text (BOS): they stand at the very start of a sequence, the image behind them."""
    probe = "a"
    with_them, bare = tokenizer(probe).input_ids, tokenizer(probe, add_special_tokens=False).input_ids
    starts = (n for n in range(len(with_them) - len(bare) + 1) if with_them[n : n + len(bare)] == bare)
    return list(with_them[: next(starts, 0)])


def end_tokens(language: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids that end an answer: those of the model's generation config, one or a list, and the one that training puts behind every answer."""
    told = language.generation_config.eos_token_id if language.generation_config is not None else None
    ends = [] if told is None else [told] if isinstance(told, int) else list(told)
    return list(dict.fromkeys([*ends, *([] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id])]))


def closing_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that training puts behind every answer.

    Raises:
        ConfigError: the tokenizer has no end token.
    """
    if tokenizer.eos_token_id is None:
        raise ConfigError("language.tokenizer has no end token (eos_token), so no answer would end; give a tokenizer that names one")
    return int(tokenizer.eos_token_id)


def vocabulary_size(tokenizer: PreTrainedTokenizerBase) -> int:
    """Embeddings that a tokenizer needs: one beyond its highest id, which may be more than its tokens."""
    return max(len(tokenizer), 1 + max(tokenizer.get_vocab().values(), default=-1))


def check_vocabulary(config: LanguageConfig, language: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """ConfigError where the tokenizer knows ids that the language model has no embedding for."""
    rows, needed = len(embedding_table(language)), vocabulary_size(tokenizer)
    if needed > rows:
        raise ConfigError(
            f"language.tokenizer={config.tokenizer!r} has {needed} tokens, language.weights={config.weights!r} embeds {rows}; "
            "give the tokenizer that belongs to the weights"
        )


def weights_dtype(config: LanguageConfig) -> torch.dtype | None:
    """The type of the language model's weights: what language.dtype says, else float32 where they train; None is the checkpoint's own."""
    if config.dtype is not None:
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[config.dtype]
    return torch.float32 if config.weights_train else None


def set_parameters_to(module: nn.Module, dtype: torch.dtype | None) -> None:
    """Parameters in another type, where they are in one; buffers keep theirs (a rotary table in bfloat16 would be another table)."""
    for parameter in module.parameters() if dtype is not None else ():
        if parameter.dtype is not dtype:
            parameter.data = parameter.data.to(dtype)


def build_language(config: LanguageConfig, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A causal LM with the tokenizer's vocabulary (`weights: random`), or a loaded one whole, on scaled_dot_product_attention where its
    class has it.

    Random weights have standard deviation sqrt(2 / (5 * width)) (Nguyen and Salazar, 2019): transformers' 0.02 is meant for widths of
    a thousand and more.

    Raises:
        FilaError: weights that are not to be had.
        ConfigError: weights that lack tensors, have more than the class, or hold NaN or infinite values.
    """
    if config.weights != "random" and weights_file(config.weights) is None:
        return _loaded(config)
    settings, model = _CLASSES[config.architecture]
    return model(
        settings(
            vocab_size=vocabulary_size(tokenizer),
            hidden_size=config.width,
            intermediate_size=config.intermediate,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.kv_heads or config.heads,
            max_position_embeddings=MAX_POSITIONS,
            initializer_range=(2 / (5 * config.width)) ** 0.5,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            attn_implementation="sdpa",
        )
    )


def _loaded(config: LanguageConfig) -> PreTrainedModel:
    dtype = weights_dtype(config) or "auto"
    for index in sorted(Path(config.weights).glob("*.index.json")):
        indexed_files(f"language.weights = {config.weights!r}", index)  # transformers opens whatever it names
    try:
        language, told = _offline_first(AutoModelForCausalLM.from_pretrained, config.weights, dtype=dtype, output_loading_info=True)
    except Exception as error:
        raise _unavailable("language.weights", config.weights, error) from error
    require_all("language.weights", config.weights, missing=told["missing_keys"], surplus=told["unexpected_keys"])
    require_finite("language.weights", config.weights, language.state_dict())
    return language


def _offline_first(load: Callable[..., Any], name: str, **options: Any) -> Any:
    """What `from_pretrained` gives for a folder or a name on the hub: the network is asked only for what the hub's cache lacks, and then
    shows how far it is."""
    if Path(name).is_dir():
        with without_bars():
            return load(name, **options)
    with suppress(OSError), without_bars():
        return load(name, local_files_only=True, **options)
    with without_attempts():
        return load(name, **options)


def _unavailable(field: str, value: str, error: Exception) -> FilaError:
    first = (str(error).strip().splitlines() or [""])[0]
    message = f"{field}={value!r} cannot be loaded ({type(error).__name__}: {first}); give a folder that holds it, or "
    other = "characters" if field.endswith("tokenizer") else "random"
    if isinstance(error, OSError) and not Path(value).exists():  # a name on the hub: of this machine, not of the cell
        message += f"fill the hub cache where there is a network (`hf download {value}`), or set {other}"
        return MachineError(message, "weights absent")
    return FilaError(f"{message}set {other}")
