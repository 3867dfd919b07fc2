"""Prompts of a run: the template's words through the language model's tokenizer."""

from __future__ import annotations

from functools import partial

from transformers import PreTrainedTokenizerBase

from fila_lab.data.prompt import Prompt, Tokens
from fila_lab.modeling.language import closing_token, leading_tokens, text_ids


def prompt_of(template: str, tokenizer: PreTrainedTokenizerBase, max_tokens: int | None = None) -> Prompt:
    """The prompt of a template and a tokenizer.

    Raises:
        ConfigError: there is no such template, or the tokenizer has no end token.
    """
    return Prompt(template, tokens_of(tokenizer), max_tokens)


def tokens_of(tokenizer: PreTrainedTokenizerBase) -> Tokens:
    """A tokenizer as prompts need it; pickles, for batches are made by other processes too. ConfigError where it has no end token."""
    return Tokens(
        encode=partial(text_ids, tokenizer),
        token=dict(tokenizer.added_tokens_encoder).get,
        end=closing_token(tokenizer),
        leading=len(leading_tokens(tokenizer)),
    )
