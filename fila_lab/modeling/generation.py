"""Greedy answers: each prompt's own, whatever stands beside it in the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fila_lab.modeling.causal import CausalReader


class Answer(NamedTuple):
    """`text`: decoded, special tokens left out; `whole`: whether it came to its end before the limit."""

    text: str
    whole: bool


def greedy(reader: CausalReader, prompts: Tensor, lengths: Tensor, ends: Sequence[int], limit: int) -> list[list[int]]:
    """prompts [B, L, D_llm], padded on the right, int64 lengths [B] -> the ids of each one's answer: up to one of `ends`, itself included,
    `limit` tokens, or the last position that the language model knows. Stops when all have come there."""
    closing = torch.tensor(ends, dtype=torch.long, device=prompts.device)
    room = torch.full_like(lengths, limit)
    if reader.positions is not None:  # the last token is not read
        room = room.clamp(max=reader.positions + 1 - lengths)
    new: list[Tensor] = []
    open_: list[Tensor] = []
    going = room > 0
    logits, read = reader.first_token(prompts, lengths)
    while bool(going.any()):
        if new:
            logits, read = reader.next_token(new[-1], read)
        new.append(logits.argmax(-1))
        open_.append(going)
        going = going & ~torch.isin(new[-1], closing) & (room > len(new))
    if not new:
        return [[] for _ in lengths]
    rows, kept = torch.stack(new, dim=1).tolist(), torch.stack(open_, dim=1).tolist()
    return [[token for token, own in zip(row, mine, strict=True) if own] for row, mine in zip(rows, kept, strict=True)]
