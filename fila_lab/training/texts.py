"""Dialogues of a batch as padded ids, and which positions carry loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from fila_lab.data.prompt import Dialogue
from fila_lab.training.prompts import prompt_of

IGNORE = -100
"""Label of positions without loss."""
TEMPLATE = "bare"
"""The laboratory's own: question, answer, end, the image before them all."""


class Texts:
    """Batches of dialogues, padded on the right."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.prompt = prompt_of(TEMPLATE, tokenizer)
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.prompt.tokens.end

    def __call__(self, dialogues: Sequence[Dialogue], answered: bool) -> tuple[Tensor, Tensor, Tensor]:
        """(ids [B, L], lengths of the prompts [B], labels [B, L]).

        Answered, every answer is there and carries loss; else dialogues end at the last question, and no position does.
        """
        rows = self.prompt.training(dialogues) if answered else self.prompt.asking(dialogues)
        width = max(len(row.ids) for row in rows)
        ids, labels = torch.full((len(rows), width), self.pad), torch.full((len(rows), width), IGNORE)
        for number, row in enumerate(rows):
            ids[number, : len(row.ids)] = torch.tensor(row.ids, dtype=torch.long)
            if answered:
                labels[number, : len(row.ids)] = torch.tensor(row.labels(IGNORE), dtype=torch.long)
        return ids, torch.tensor([row.prompt_length if answered else len(row.ids) for row in rows]), labels
