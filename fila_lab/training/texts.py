"""Dialogues of a batch as padded ids, and which positions carry loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from fila_lab.config import LanguageConfig
from fila_lab.data.prompt import Dialogue, Encoded
from fila_lab.training.prompts import prompt_of

IGNORE = -100
"""Label of positions without loss."""


class PaddedTexts(NamedTuple):
    """ids: int64 [B, L], padded on the right; prompt_lengths: int64 [B]; labels: int64 [B, L], IGNORE where there is no loss; image_at: how
    many ids stand before the image, in every row."""

    ids: Tensor
    prompt_lengths: Tensor
    labels: Tensor
    image_at: int

    def to(self, device: torch.device | str) -> PaddedTexts:
        """The same on a device."""
        return self._replace(**{name: getattr(self, name).to(device) for name in ("ids", "prompt_lengths", "labels")})


class Texts:
    """Batches of dialogues by the template of a run, padded on the right.

    Raises:
        ConfigError: there is no such template, or the tokenizer has no end token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, language: LanguageConfig | None = None) -> None:
        said = language or LanguageConfig()
        self.prompt = prompt_of(said.template, tokenizer, said.max_tokens)
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.prompt.tokens.end

    def __call__(self, dialogues: Sequence[Dialogue], answered: bool) -> PaddedTexts:
        """Answered, every answer is there and carries loss; else dialogues end at the last question, and no position does. All of them have
        an image, or none."""
        return self.padded(self.encoded(dialogues, answered))

    def encoded(self, dialogues: Sequence[Dialogue], answered: bool) -> list[Encoded]:
        """The dialogues' ids, each of its own length."""
        return self.prompt.training(dialogues) if answered else self.prompt.asking(dialogues)

    def padded(self, rows: Sequence[Encoded]) -> PaddedTexts:
        """Sequences of `encoded` as one batch."""
        width = max(len(row.ids) for row in rows)
        ids, labels = torch.full((len(rows), width), self.pad), torch.full((len(rows), width), IGNORE)
        for number, row in enumerate(rows):
            ids[number, : len(row.ids)] = torch.tensor(row.ids, dtype=torch.long)
            labels[number, : len(row.ids)] = torch.tensor(row.labels(IGNORE), dtype=torch.long)
        lengths = torch.tensor([row.prompt_length for row in rows])
        (image_at,) = {row.image_at for row in rows}  # what stands before the first question is the template's
        return PaddedTexts(ids, lengths, labels, image_at or 0)
