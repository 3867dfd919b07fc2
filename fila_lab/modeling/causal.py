"""A causal language model asked through its class's own forward, so that what the class does to embeddings, scores and logits stays.

transformers' classes differ behind a common door: Granite, Cohere and Gemma scale or cap their logits after the head, GPT-2 and GPT-NeoX
name their parts otherwise, and the cache is an argument `cache` from transformers 5.24 on, `past_key_values` before.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from fila_lab.config.base import ConfigError

CACHE_NAMES = ("cache", "past_key_values")
REMEDY = "choose another language.weights, e.g. a Llama, Qwen, Mistral, Gemma, Granite, Phi, OLMo, GPT-NeoX or GPT-2 checkpoint"


class HeadRows:
    """Forward pre-hook of a language model's head: of the hidden states [B, L, D] only `chosen`, an index into [B, L], become logits.

    The class's forward would give every position its logits, which at real vocabularies take more memory than all the rest.
    """

    def __init__(self) -> None:
        self.chosen: Any = None

    def __call__(self, head: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        return None if self.chosen is None else (inputs[0][self.chosen], *inputs[1:])


class CausalReader:
    """Reads embeddings with a language model. Holds no weights: the model stays its owner's.

    Raises:
        ConfigError: a class that takes no embeddings, keeps no cache, or has no head, by name.
    """

    def __init__(self, language: PreTrainedModel) -> None:
        name = type(language).__name__
        arguments = inspect.signature(language.forward).parameters
        cache = next((known for known in CACHE_NAMES if known in arguments), None)
        if "inputs_embeds" not in arguments or cache is None:
            lacks = "inputs_embeds" if "inputs_embeds" not in arguments else f"any of {', '.join(CACHE_NAMES)}"
            raise ConfigError(f"language.weights: {name} cannot read images: its forward does not take {lacks}; {REMEDY}")
        for part, module in (("embedding", _asked(language.get_input_embeddings)), ("head", _asked(language.get_output_embeddings))):
            if module is None:
                raise ConfigError(f"language.weights: {name} cannot read images: it tells of no {part}; {REMEDY}")
        self.language = language
        self.cache_name: str = cache
        self._rows = HeadRows()
        self._head: nn.Module | None = None

    @property
    def width(self) -> int:
        """D_llm, of the embeddings it reads."""
        return embedding_table(self.language).shape[-1]

    @property
    def positions(self) -> int | None:
        """The most tokens it reads, a multimodal class's text part; None where its configuration tells no limit."""
        most = getattr(self.language.config.get_text_config(), "max_position_embeddings", None)
        return None if most is None else int(most)

    def embed(self, ids: Tensor) -> Tensor:
        """ids [B, L] -> what the class itself would read for them, [B, L, D_llm]."""
        return self.language.get_input_embeddings()(ids)

    def logits(self, embeddings: Tensor, chosen: Any) -> Tensor:
        """embeddings [B, L, D_llm], an index `chosen` into [B, L] (a mask with M true places, slices) -> float32 logits [M, V] or as the
        index shapes them, of the token after each chosen place."""
        return self._ask(chosen, inputs_embeds=embeddings, use_cache=False).logits.float()

    def first_token(self, embeddings: Tensor) -> tuple[Tensor, Any]:
        """embeddings [B, L, D_llm] -> float32 logits of the next token [B, V], and the cache to go on with."""
        return self._told(self._ask((slice(None), -1), inputs_embeds=embeddings, use_cache=True))

    def next_token(self, ids: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """The last tokens [B], a cache of all before -> as `first_token`."""
        return self._told(self._ask((slice(None), -1), input_ids=ids[:, None], use_cache=True, **{self.cache_name: cache}))

    def _told(self, output: Any) -> tuple[Tensor, Any]:
        return output.logits.float(), getattr(output, self.cache_name)

    def _ask(self, chosen: Any, **inputs: Any) -> Any:
        head = self.language.get_output_embeddings()
        if head is not self._head:  # a head may be replaced
            head.register_forward_pre_hook(self._rows, prepend=True)
            self._head = head
        self._rows.chosen = chosen
        try:
            return self.language(**inputs)
        finally:
            self._rows.chosen = None


def embedding_table(language: PreTrainedModel) -> Tensor:
    """[vocabulary, D_llm], padding rows included."""
    table = language.get_input_embeddings().weight
    assert isinstance(table, Tensor)
    return table


def _asked(part: Any) -> nn.Module | None:
    try:
        return part()
    except (NotImplementedError, AttributeError):
        return None


@torch.no_grad()
def check_reading(reader: CausalReader) -> None:
    """Four tokens read by their embeddings, and the fourth after a cache of three, must give the logits that the class gives for the ids.

    Raises:
        ConfigError: they differ, or the class fails: it looks ahead, needs the ids, or keeps another kind of cache.
    """
    language, embedding = reader.language, embedding_table(reader.language)
    ids = (len(embedding) // 2 + torch.arange(4, device=embedding.device) % max(1, len(embedding) - len(embedding) // 2))[None]
    training = language.training
    language.eval()
    try:
        wanted = language(input_ids=ids, use_cache=False).logits.float()[0]
        by_embeddings = reader.logits(reader.embed(ids), (0, slice(None)))
        third, cache = reader.first_token(reader.embed(ids[:, :3]))
        fourth, _ = reader.next_token(ids[:, 3], cache)
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise ConfigError(
            f"language.weights: {type(language).__name__} cannot read images ({type(error).__name__}: {first}); {REMEDY}"
        ) from error
    finally:
        language.train(training)
    slack = float(wanted.abs().max()) * (1e-3 if embedding.dtype is torch.float32 else 0.1)
    for found, expected, what in (
        (by_embeddings, wanted, "reads embeddings otherwise than ids"),
        (third[0], wanted[2], "looks at tokens that follow"),
        (fourth[0], wanted[3], "goes on from its cache otherwise than it reads"),
    ):
        if found.shape != expected.shape or not (found - expected).abs().max() <= slack:
            raise ConfigError(f"language.weights: {type(language).__name__} cannot read images: it {what}; {REMEDY}")
