"""The language model and its tokenizer: transformers' classes, built from numbers or loaded."""

from __future__ import annotations

from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
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

from fila_lab.config.base import FilaError
from fila_lab.config.run import LanguageConfig
from fila_lab.modeling.answers import is_answer_file

CHARACTERS = "".join(chr(code) for code in range(0x20, 0x7F)) + "\n"
SPECIAL = ("<pad>", "<eos>", "<unk>")
WORDS: tuple[str, ...] = (
    "red", "green", "blue", "orange", "purple", "black", "teal", "pink", "ball", "ring", "square", "triangle", "diamond", "plus",
    "full", "top", "left", "frame", "cross", "slash", "dots", "bars", "rows", "disc", "right", "above", "below", "yes", "no",
    "field", "cell", "bar", "count", "from", "mark", "on", "layout", "age", "bin", "box", "day", "due", "fax", "fee", "id", "job", "lot",
    "net", "qty", "ref", "row", "sum", "tax", "tel", "vat", "zip",
)  # fmt: skip
"""Words of the seam suite's questions and answers (a test holds them equal to the suite's)."""
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
        tokenizer = AutoTokenizer.from_pretrained(config.tokenizer)
    except Exception as error:
        raise _unavailable("language.tokenizer", config.tokenizer, error) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def build_language(config: LanguageConfig, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A causal LM with the tokenizer's vocabulary (`weights: random`), or a loaded one, on scaled_dot_product_attention.

    Random weights have standard deviation sqrt(2 / (5 * width)) (Nguyen and Salazar, 2019): transformers' 0.02 is meant for widths of
    a thousand and more.
    """
    if config.weights != "random" and not is_answer_file(config.weights):
        try:
            return AutoModelForCausalLM.from_pretrained(config.weights, attn_implementation="sdpa")
        except Exception as error:
            raise _unavailable("language.weights", config.weights, error) from error
    settings, model = _CLASSES[config.architecture]
    return model(
        settings(
            vocab_size=len(tokenizer),
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


def _unavailable(field: str, value: str, error: Exception) -> FilaError:
    first = (str(error).strip().splitlines() or [""])[0]
    return FilaError(
        f"{field}={value!r} cannot be loaded ({type(error).__name__}: {first}); give a folder that holds it, or fill the hub cache, "
        f"or set {'characters' if field.endswith('tokenizer') else 'random'}"
    )
