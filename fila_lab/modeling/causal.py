"""A causal language model asked through its class's own forward, so that what the class does to embeddings, scores and logits stays.

transformers' classes differ behind a common door: Granite, Cohere and Gemma scale or cap their logits after the head, GPT-2 and GPT-NeoX
name their parts otherwise, and the cache is an argument `cache` from transformers 5.24 on, `past_key_values` before.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Read:
    """How far B sequences have been read.

    cache: what the class keeps of them; lengths: int64 [B], their tokens so far; mask: int64 [B, L], 0 where padding stands before a
    shorter one, None where all are equally long.
    """

    cache: Any
    lengths: Tensor
    mask: Tensor | None


class CausalReader:
    """Reads embeddings with a language model. Holds no weights: the model stays its owner's.

    Sequences of different lengths are padded on the left: their tokens stay neighbours, and end together, which is what recurrent classes
    and attention windows go by, and positions are counted from each one's own beginning.

    Raises:
        ConfigError: a class that takes no embeddings or mask, keeps no cache, or has no head, by name.
    """

    def __init__(self, language: PreTrainedModel) -> None:
        name = type(language).__name__
        arguments = inspect.signature(language.forward).parameters
        cache = next((known for known in CACHE_NAMES if known in arguments), None)
        taken = {argument: argument in arguments for argument in ("inputs_embeds", "attention_mask")}
        for lacks in (given for given, there in (taken | {" or ".join(CACHE_NAMES): cache is not None}).items() if not there):
            raise ConfigError(f"language.weights: {name} cannot read images: its forward does not take {lacks}; {REMEDY}")
        for part, module in (("embedding", _asked(language.get_input_embeddings)), ("head", _asked(language.get_output_embeddings))):
            if module is None:
                raise ConfigError(f"language.weights: {name} cannot read images: it tells of no {part}; {REMEDY}")
        self.language = language
        self.cache_name = str(cache)
        self._takes_positions = "position_ids" in arguments
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

    def first_token(self, embeddings: Tensor, lengths: Tensor) -> tuple[Tensor, Read]:
        """embeddings [B, L, D_llm], padded on the right, int64 lengths [B], at least 1 -> float32 logits of the next token [B, V], and what
        to go on from."""
        longest = int(lengths.max())
        if bool((lengths == longest).all()):
            return self._told(lengths, None, inputs_embeds=embeddings[:, :longest])
        places = torch.arange(longest, device=lengths.device) - (longest - lengths)[:, None]  # [B, L], negative in the padding
        own, mask = places.clamp(min=0), (places >= 0).long()
        moved = embeddings[torch.arange(len(own), device=own.device)[:, None], own]
        return self._told(lengths, mask, inputs_embeds=moved, **self._padded(mask, own))

    def next_token(self, ids: Tensor, read: Read) -> tuple[Tensor, Read]:
        """The next tokens [B] of sequences read so far -> as `first_token`. Past the end of the class's table of positions its last row is
        read again: what a sequence says there means nothing, the others go on."""
        given = {"input_ids": ids[:, None], self.cache_name: read.cache}
        if read.mask is None:
            return self._told(read.lengths + 1, None, **given)
        mask = torch.cat([read.mask, read.mask.new_ones(len(ids), 1)], dim=1)
        # A state that is no list of tokens holds no padding: its classes want no mask with a token that comes alone.
        if not all(getattr(read.cache, "is_linear", [False])):
            last = read.lengths if self.positions is None else read.lengths.clamp(max=self.positions - 1)
            given |= self._padded(mask, last[:, None])
        return self._told(read.lengths + 1, mask, **given)

    def _padded(self, mask: Tensor, positions: Tensor) -> dict[str, Tensor]:
        """What the class's forward is told of padded sequences; classes without an argument for positions go by the mask."""
        return {"attention_mask": mask} | ({"position_ids": positions} if self._takes_positions else {})

    def _told(self, lengths: Tensor, mask: Tensor | None, **inputs: Any) -> tuple[Tensor, Read]:
        output = self._ask((slice(None), -1), use_cache=True, **inputs)
        return output.logits.float(), Read(getattr(output, self.cache_name), lengths, mask)

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
    """Four tokens read by their embeddings, and the fourth after a cache of three, must give the logits that the class gives for the ids;
    and so must two of them beside three, padded.

    Raises:
        ConfigError: they differ, or the class fails: it looks ahead, needs the ids, sees padding, or keeps another kind of cache.
    """
    language, embedding = reader.language, embedding_table(reader.language)
    ids = (len(embedding) // 2 + torch.arange(4, device=embedding.device) % max(1, len(embedding) - len(embedding) // 2))[None]
    name, training = type(language).__name__, language.training
    language.eval()
    try:
        for found, wanted, what in _readings(reader, ids):
            slack = float(wanted.abs().max()) * (1e-3 if embedding.dtype is torch.float32 else 0.1)
            if found.shape != wanted.shape or not (found - wanted).abs().max() <= slack:
                raise ConfigError(f"language.weights: {name} cannot read images: it {what}; {REMEDY}")
    except ConfigError:
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise ConfigError(f"language.weights: {name} cannot read images ({type(error).__name__}: {first}); {REMEDY}") from error
    finally:
        language.train(training)


def _readings(reader: CausalReader, ids: Tensor) -> Iterator[tuple[Tensor, Tensor, str]]:
    """(logits of the reader, those of the class for the ids themselves, what it does where they differ), for ids [1, 4]."""
    wanted = reader.language(input_ids=ids, use_cache=False).logits.float()[0]
    embeddings = reader.embed(ids)
    yield reader.logits(embeddings, (0, slice(None))), wanted, "reads embeddings otherwise than ids"
    third, read = reader.first_token(embeddings[:, :3], ids.new_tensor([3]))
    yield third[0], wanted[2], "looks at tokens that follow"
    yield reader.next_token(ids[:, 3], read)[0][0], wanted[3], "goes on from its cache otherwise than it reads"
    second, read = reader.first_token(embeddings[:, :3].expand(2, -1, -1), ids.new_tensor([3, 2]))
    after, _ = reader.next_token(ids[0, [3, 2]], read)
    yield torch.stack([second[1], after[1]]), wanted[1:3], "reads otherwise where padding stands before it"
